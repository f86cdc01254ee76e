"""Absolute floors: what a candidate must reach whatever it replaces."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.events import GateResult
from penstock.spec import CLASS_FLOORS, NUMBER_FLOORS, Pipeline
from retraining.figures import Figure


def floor_gates(pipeline: Pipeline, found: Mapping[str, Figure], applied: bool = True) -> list[GateResult]:
    """One verdict per floor (``min_…``: to be exceeded) and ceiling (``max_…``: to stay below) that the spec sets.

    ``applied`` False: reported only. A figure that is not defined on the rows (ROC AUC of one class) does not pass.
    """
    results = []
    for name in (*CLASS_FLOORS, *NUMBER_FLOORS):
        limit: float | None = getattr(pipeline.gates, name)
        if limit is not None:
            results.append(_gate(name, limit, found.get(name.partition("_")[2]), applied))
    return results


def _gate(name: str, limit: float, figure: Figure | None, applied: bool) -> GateResult:
    kind, _, metric = name.partition("_")
    said = metric.replace("_", " ")
    wanted = f"{'above' if kind == 'min' else 'below'} {limit:.4g} wanted"
    if figure is None:
        passed, value, detail = False, None, f"{said} is not defined on these rows, {wanted}"
    else:
        value = figure.value
        passed = value > limit if kind == "min" else value < limit
        detail = f"{said} {figure}, {wanted}"
    return GateResult(name=name, value=value, threshold=limit, passed=passed if applied else None, detail=detail)
