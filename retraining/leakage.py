"""Leakage: a feature whose value, or whose absence, alone tells the label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from penstock.spec import Date, Pipeline
from retraining.dataset import Row, targets

#: A feature that alone ranks the classes this well is the label in disguise.
LEAKAGE_AUC = 0.995
#: A feature that is known in fewer rows than these is not judged.
LEAST_KNOWN = 100
#: A class with fewer rows than these cannot be judged.
LEAST_PER_CLASS = 5
#: More pairs of classes than these make cost more than they tell.
MOST_PAIRED_CLASSES = 8


class Leak(NamedTuple):
    """A feature that gives the target away: what of it, and how well (AUC; regression: rank correlation)."""

    what: str
    power: float

    def __str__(self) -> str:
        return f"{self.what} alone tells the target ({self.power:.4f} > {LEAKAGE_AUC})"


def leak(pipeline: Pipeline, rows: Sequence[Row]) -> Leak | None:
    """The first feature that gives the target away; None: none does."""
    wanted = targets(pipeline, rows)
    for feature in pipeline.features:
        if isinstance(feature, Date):
            continue
        values = [row.features[feature.name] for row in rows]
        missing = np.array([value is None for value in values], dtype=float)
        for what, column in (("the value", _column(values, wanted)), ("missingness", missing)):
            power = _power(pipeline, column, wanted)
            if power > LEAKAGE_AUC:
                return Leak(f"{what} of feature {feature.name}", power)
    return None


def _column(values: Sequence[object], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    if any(isinstance(value, str) for value in values):
        return _out_of_fold_means(values, wanted)
    return np.array([np.nan if value is None else float(cast(float, value)) for value in values])


def _out_of_fold_means(values: Sequence[object], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per row, its category's mean target in the other half of the rows (its own would leak by itself)."""
    overall = float(wanted.mean())
    halves = [_means(values[half::2], wanted[half::2]) for half in (0, 1)]
    return np.array([halves[1 - index % 2].get(value, overall) for index, value in enumerate(values)])


def _means(values: Sequence[object], wanted: NDArray[np.float64]) -> dict[object, float]:
    sums: dict[object, list[float]] = {}
    for value, target in zip(values, wanted.tolist(), strict=True):
        sums.setdefault(value, []).append(target)
    return {value: sum(held) / len(held) for value, held in sums.items()}


def _power(pipeline: Pipeline, column: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """How well one column orders the target, in [0, 1].

    Regression: |Spearman's ρ|. Classes: the mean AUC over pairs of the most frequent ones (Hand and Till 2001).
    """
    known = ~np.isnan(column)
    if known.sum() < LEAST_KNOWN:
        return 0.0
    ranks, known_wanted = rankdata(column[known]), wanted[known]
    if pipeline.task == "regression":
        if np.ptp(ranks) == 0.0 or np.ptp(known_wanted) == 0.0:
            return 0.0
        return abs(float(np.corrcoef(ranks, rankdata(known_wanted))[0, 1]))
    names, counts = np.unique(known_wanted, return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")[:MOST_PAIRED_CLASSES]]
    powers = []
    for one, other in combinations(sorted(frequent.tolist()), 2):
        pair = (known_wanted == one) | (known_wanted == other)
        powers.append(_auc(rankdata(ranks[pair]), known_wanted[pair] == other))
    return float(np.mean(powers)) if powers else 0.0


def _auc(ranks: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Mann and Whitney's U as an area in [0.5, 1], whichever way the column points."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if min(ones, zeros) < LEAST_PER_CLASS:
        return 0.5
    area = (float(ranks[positive].sum()) - ones * (ones + 1) / 2) / (ones * zeros)
    return max(area, 1.0 - area)
