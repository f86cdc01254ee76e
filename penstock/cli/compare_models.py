"""Models side by side on the same history: what was served, each version, the baselines."""

from __future__ import annotations

from typing import Any

from online.committee import Committee
from penstock.cli.evaluation import History
from penstock.cli.report import evaluate
from penstock.events import Outcome, Score
from penstock.spec import Pipeline


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


def members_alone(pipeline: Pipeline, history: History) -> list[dict[str, Any]]:
    """The committee and each of its members alone, learned once more: every label tests them, then trains them.

    All on the same rows: every labelled one but the first, in the order in which labels came. One committee learns all
    partitions.
    """
    committee = Committee(pipeline)
    pairs: dict[str, list[tuple[Score, Outcome]]] = {name: [] for name in ("committee", *committee.members)}
    for item in sorted(history.scored, key=lambda scored: (scored.label_ms, scored.row)):
        prediction, outcome = item.example.prediction, item.example.value
        alone = committee.member_scores(prediction.features)
        lag = None if prediction.snapshot is None else max(0, committee.learned - prediction.snapshot)
        score = committee.learn_one(prediction.features, outcome, lag)
        if alone:
            for name, said in {"committee": score, **alone}.items():
                pairs[name].append((said, outcome))
    return [
        _entry(name, "committee" if name == "committee" else "member", len(said), evaluate(pipeline, said))
        for name, said in pairs.items()
    ]


def _entry(name: str, kind: str, rows: int, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "rows": rows,
        **{key: values.get(key) for key in ("accuracy", "log_loss", "mae")},
    }
