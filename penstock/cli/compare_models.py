"""Models side by side on the same history: what was served, each version, the baselines."""

from __future__ import annotations

from typing import Any


def compared_models(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry per model: ``{name, kind, rows, accuracy, log_loss, mae}``.

    ``kind``: ``served`` (whatever version answered), ``online`` and ``batch`` (a version's own scores at request time,
    on the rows where it was scored) or ``baseline``.
    """
    labelled = report["labelled"]
    entries = [_entry("served", "served", labelled, report)]
    entries += [_entry(model["version"], model["kind"], model["rows"], model) for model in report["models"]]
    baselines = {
        "previous row's label": ("baseline_accuracy", "baseline_mae"),
        "last known label": ("baseline_accuracy_delayed", None),
        "majority class": ("majority_accuracy", None),
    }
    for name, (accuracy, mae) in baselines.items():
        values = {"accuracy": report.get(accuracy), "mae": report.get(mae) if mae else None}
        if any(value is not None for value in values.values()):
            entries.append(_entry(name, "baseline", labelled, values))
    return entries


def _entry(name: str, kind: str, rows: int, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "rows": rows,
        **{key: values.get(key) for key in ("accuracy", "log_loss", "mae")},
    }
