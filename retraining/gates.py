"""Gates: what a model must show on rows that it was not trained on, before it is announced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.events import CandidateResult, GateResult, Score
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.dataset import Row
from retraining.losses import losses, summary

#: Fewer rows than these on which both models were scored decide nothing.
LEAST_PAIRED = 100


class Comparison(NamedTuple):
    """All that was compared on the same later rows: results by name, and losses per row (NaN: not scored there)."""

    results: list[CandidateResult]
    losses: dict[str, NDArray[np.float64]]


def recorded(rows: Sequence[Row], version: str) -> list[Score | None]:
    """What ``version`` answered at request time, served or in shadow; None where it was not scored."""
    return [row.scores.get(version) for row in rows]


def compare(pipeline: Pipeline, rows: Sequence[Row], columns: Mapping[str, Sequence[Score | None]]) -> Comparison:
    """Losses and summaries of each column of scores over ``rows``; a column without a score is left out."""
    results: list[CandidateResult] = []
    table: dict[str, NDArray[np.float64]] = {}
    for name, column in columns.items():
        kept = [
            (score, row, index)
            for index, (score, row) in enumerate(zip(column, rows, strict=True))
            if score is not None
        ]
        if not kept:
            continue
        scores, scored = [score for score, _, _ in kept], [row for _, row, _ in kept]
        results.append(summary(pipeline, name, scores, scored))
        table[name] = np.full(len(rows), np.nan)
        table[name][[index for _, _, index in kept]] = losses(pipeline, scores, scored)
    return Comparison(results, table)


def choose(comparison: Comparison, candidates: Sequence[str]) -> str:
    """The candidate with the least mean loss; the first of equals."""
    return min(candidates, key=lambda name: float(np.nanmean(comparison.losses[name])))


def improvement_gate(
    pipeline: Pipeline, comparison: Comparison, challenger: str, incumbent: str, chosen_from: int
) -> GateResult:
    """Is ``challenger`` better than ``incumbent`` on the rows where both were scored?

    d_i = incumbent's loss − challenger's loss on row i. Passed when mean(d) ≥ ``gates.min_improvement`` × the
    incumbent's mean loss and the lower confidence bound mean(d) − z · sd(d) / √n is above 0. z is the normal
    quantile at 1 − (1 − ``gates.confidence``) / ``chosen_from``: the best of several candidates was chosen on the
    same rows (Bonferroni's correction).
    """
    name, gates = f"improvement_over_{incumbent}", pipeline.gates
    if incumbent not in comparison.losses:
        return GateResult(
            name=name,
            value=None,
            threshold=gates.min_improvement,
            passed=False,
            detail=f"no recorded score of {incumbent}",
        )
    before, after = comparison.losses[incumbent], comparison.losses[challenger]
    both = ~(np.isnan(before) | np.isnan(after))
    n = int(both.sum())
    if n < LEAST_PAIRED:
        detail = f"only {n} rows have scores of both {challenger} and {incumbent}; {LEAST_PAIRED} are needed"
        return GateResult(name=name, value=None, threshold=gates.min_improvement, passed=False, detail=detail)
    gain = before[both] - after[both]
    mean, base = float(gain.mean()), float(before[both].mean())
    relative = mean / base if base > 0.0 else 0.0
    quantile = NormalDist().inv_cdf(1.0 - (1.0 - gates.confidence) / max(1, chosen_from))
    lower = mean - quantile * float(gain.std(ddof=1)) / n**0.5
    loss = "MAE" if pipeline.task == "regression" else "log loss"
    detail = (
        f"{loss} {base - mean:.4g} against {base:.4g} of {incumbent} on {n} rows: {relative:+.1%} "
        f"(at least {gates.min_improvement:.1%} wanted), lower bound of the gain {lower:.4g} at {gates.confidence:.0%}"
    )
    passed = relative >= gates.min_improvement and lower > 0.0
    return GateResult(name=name, value=relative, threshold=gates.min_improvement, passed=passed, detail=detail)


def incumbents(champion: str) -> list[str]:
    """Whom a candidate must beat: the champion, and the online model where that is another."""
    return [champion] if champion == ONLINE else [champion, ONLINE]
