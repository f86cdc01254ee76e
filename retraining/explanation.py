"""What a model's scores depend on: Shapley values of its features, sampled, for any model that scores rows.

φ_j(x) = E over permutations π and background rows z of f(x with what follows j in π taken from z) − f(the same with j
taken from z too): the SHAP values of feature j in their interventional reading (Lundberg & Lee, NIPS 2017), sampled as
by Štrumbelj & Kononenko (Knowledge and Information Systems 41, 2014), each permutation with its reverse (Mitchell,
Cooper, Frank & Holmes, JMLR 23, 2022). A feature's importance is the mean |φ_j(x)| over rows and classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from penstock.events import Features, GateResult, Score
from penstock.models.model import Model
from penstock.spec import Pipeline
from retraining.figures import as_array

#: Rows that are explained, and (permutation, background row) pairs for each; every pair is used in both directions.
MOST_ROWS, PAIRS = 64, 4
#: Scores that an explanation may cost; with many features fewer rows are explained.
MOST_SCORES = 20_000
_LEAST_ROWS = 8
_CHUNK = 2000


class Explanation(msgspec.Struct, frozen=True):
    """Importances by feature, in the units of the score, and the rows that they are means over."""

    importances: dict[str, float]
    rows: int

    def shares(self) -> dict[str, float]:
        """Importances as shares of their sum; all 0 for a model that looks at nothing."""
        total = sum(self.importances.values())
        return {name: value / total if total else 0.0 for name, value in self.importances.items()}


def explain(pipeline: Pipeline, model: Model, rows: Sequence[Features]) -> Explanation:
    """Importances of ``model``'s features on ``rows`` (at least two), evenly taken from them; equal calls give equal
    results, and two models are asked for the very same rows.
    """
    names = [feature.name for feature in pipeline.features]
    steps = 2 * PAIRS * (len(names) + 1)
    count = min(len(rows), MOST_ROWS, max(_LEAST_ROWS, MOST_SCORES // steps))
    picked = [rows[int(at)] for at in np.linspace(0, len(rows) - 1, count)]
    rng = np.random.default_rng(pipeline.retraining.seed)
    total = np.zeros(len(names))
    for row in picked:
        total += np.abs(_values(pipeline, model, row, rows, names, rng)).mean(axis=1)
    return Explanation(dict(zip(names, (total / count).tolist(), strict=True)), count)


def _values(
    pipeline: Pipeline,
    model: Model,
    row: Features,
    background: Sequence[Features],
    names: Sequence[str],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """φ of one row: features × outputs."""
    chains: list[list[int]] = []
    asked: list[Features] = []
    for _ in range(PAIRS):
        order = rng.permutation(len(names)).tolist()
        other = background[int(rng.integers(len(background)))]
        for chain in (order, order[::-1]):
            chains.append(chain)
            asked.extend(_walk(other, row, [names[index] for index in chain]))
    scores = _outputs(pipeline, _scored(model, asked)).reshape(len(chains), len(names) + 1, -1)
    gains = np.diff(scores, axis=1)
    found = np.zeros((len(names), scores.shape[2]))
    for chain, gain in zip(chains, gains, strict=True):
        found[chain] += gain
    return found / len(chains)


def _walk(start: Features, end: Features, order: Sequence[str]) -> list[Features]:
    """From ``start`` to ``end``, one feature after the other."""
    mixed = dict(start)
    walked = [dict(mixed)]
    for name in order:
        mixed[name] = end[name]
        walked.append(dict(mixed))
    return walked


def _scored(model: Model, rows: Sequence[Features]) -> list[Score]:
    scores: list[Score] = []
    for start in range(0, len(rows), _CHUNK):
        scores.extend(model.score_many(rows[start : start + _CHUNK]))
    return scores


def _outputs(pipeline: Pipeline, scores: Sequence[Score]) -> NDArray[np.float64]:
    return as_array(pipeline, scores).reshape(len(scores), -1)


class Drift(msgspec.Struct, frozen=True):
    """How far two explanations are apart: ½ Σ |share − share|, in [0, 1], and Spearman's ρ of the importances."""

    total_variation: float
    rank_correlation: float | None


def drift(candidate: Explanation, champion: Explanation) -> Drift:
    """Compare two explanations of the same features on the same rows."""
    mine, theirs = candidate.shares(), champion.shares()
    distance = 0.5 * sum(abs(mine[name] - theirs[name]) for name in mine)
    if sum(mine.values()) == 0.0 != sum(theirs.values()) or sum(theirs.values()) == 0.0 != sum(mine.values()):
        distance = 1.0  # only one of them looks at anything
    ranks = [rankdata([held[name] for name in mine]) for held in (mine, theirs)]
    if any(np.ptp(each) == 0.0 for each in ranks):
        return Drift(distance, None)
    return Drift(distance, float(np.corrcoef(ranks[0], ranks[1])[0, 1]))


def explanation_gate(
    pipeline: Pipeline, candidate: Explanation, champion: Explanation | None, why_not: str
) -> GateResult:
    """Does the candidate look at other features than the champion did? ``why_not``: why there is no ``champion``."""
    limit = pipeline.gates.max_explanation_drift
    if champion is None:
        return GateResult(name="explanation_drift", value=None, threshold=limit, passed=None, detail=why_not)
    found = drift(candidate, champion)
    said = "" if found.rank_correlation is None else f", rank correlation {found.rank_correlation:.2f}"
    wanted = "" if limit is None else f", at most {limit:.4g} wanted"
    mine, theirs = candidate.shares(), champion.shares()
    moved = max(mine, key=lambda name: abs(mine[name] - theirs[name]))
    detail = (
        f"total variation {found.total_variation:.4g} of the importances{said}{wanted}; {moved} moved most, "
        f"from {theirs[moved]:.1%} to {mine[moved]:.1%}"
    )
    passed = None if limit is None else found.total_variation <= limit
    return GateResult(
        name="explanation_drift", value=found.total_variation, threshold=limit, passed=passed, detail=detail
    )
