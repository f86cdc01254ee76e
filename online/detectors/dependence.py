"""How much less dependent records tell than as many independent ones, and what that leaves of a p-value."""

from __future__ import annotations

from functools import lru_cache
from math import exp, inf, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, ndtri, stdtr

from online.detectors.windows import BoolArray, FloatArray, IntArray

#: Records per batch, and the least number of batches to estimate a variance from.
BATCHES, LEAST_BATCHES = (1, 10, 25, 50, 125, 250, 500), 16
#: How seldom independent records are taken for dependent ones at each batch size, and the normal deviate of that.
CHANCE, CHANCE_DEVIATE = 2e-4, 3.54
#: Longer batches count where they say more, or less, than such a chance allows.
MORE, LESS = 0.02, 0.99
#: The greatest correlation of neighbouring batches.
MOST_CORRELATED = 0.999
#: A variance below this share of the mean square is rounding.
ROUNDING = 1e-9
#: p-values above this are far from any alarm as they are: only smaller ones are worth the correction.
SUSPECT = 0.01


class Dependence(NamedTuple):
    """``effect``: the variance of a mean over that of as many independent records'; ``degrees`` of freedom of it."""

    effect: float
    degrees: float

    def student(self, p_value: float) -> float:
        """``p_value`` of a normal statistic whose variance has been estimated with so many degrees of freedom."""
        if self.degrees == inf:
            return p_value
        return max(p_value, min(1.0, 2.0 * float(stdtr(self.degrees, float(ndtri(p_value / 2.0))))))


INDEPENDENT = Dependence(1.0, inf)


@lru_cache(maxsize=4096)
def _by_chance(degrees: float, chance: float) -> float:
    return float(chdtri(degrees, chance)) / degrees


def dependence(series: FloatArray) -> Dependence:
    """How dependent the records of ``series`` are (components × records, in order), summed over the components.

    For batches of b records the long-run variance of a record is estimated, over its own variance, as ::

        b × variance of the batch means / variance × (1 + r) / (1 - r)

    r ≥ 0 the correlation of neighbouring batches with Kendall's correction + (1 + 3 r) / m of its bias for m batches:
    batch means (Law & Kelton, Simulation Modeling and Analysis), prewhitened by an autoregression (Andrews & Monahan,
    Econometrica 60, 1992), with m / (1 + 2 (1 + r) / (1 - r)) degrees of freedom (the delta method). The estimate from
    single records is exact for an autoregression of first order; that of longer batches (16 or more, up to 500 records)
    takes its place where it differs beyond chance, as for slow changes under noise, or for cycles within a batch.
    `INDEPENDENT` unless a variance of batches or an r is beyond what independent records exceed once in 5,000, so
    that noise costs them no power. A cycle or a trend that takes the whole series looks like any other dependence.
    """
    components, records = series.shape
    excess = series - series.mean(axis=1, keepdims=True) if records else series
    square = float(np.square(series).sum())
    alone = float(np.square(excess).sum()) / max(1, records)
    if alone <= ROUNDING * square / max(1, records):
        return INDEPENDENT
    upto = np.zeros((components, records + 1))
    np.cumsum(excess, axis=1, out=upto[:, 1:])
    found, dependent = INDEPENDENT, False
    for size in BATCHES:
        count = records // size
        if count < LEAST_BATCHES:
            break
        means = np.diff(upto[:, records - count * size :: size], axis=1) / size
        means -= means.mean(axis=1, keepdims=True)
        total = float(np.square(means).sum())
        if total <= 0.0:
            continue
        plain = total / (count - 1) * size / alone
        r = float((means[:, 1:] * means[:, :-1]).sum()) / total
        dependent |= r * sqrt(count) > CHANCE_DEVIATE
        dependent |= size > 1 and plain > _by_chance((count - 1) * max(1, components - 1), CHANCE)
        r = min(MOST_CORRELATED, max(0.0, r + (1.0 + 3.0 * r) / count))
        slow = (1.0 + r) / (1.0 - r)
        estimate = Dependence(plain * slow, count / (1.0 + 2.0 * slow))
        ratio = estimate.effect / found.effect
        first = found is INDEPENDENT
        if first or not _by_chance(estimate.degrees, LESS) <= ratio <= _by_chance(estimate.degrees, MORE):
            found = estimate
    if not dependent or found.effect <= 1.0:
        return INDEPENDENT
    return found._replace(effect=min(found.effect, records / 2.0))


def indicator_dependence(member: BoolArray) -> Dependence:
    """That of the share of true values (in order)."""
    return dependence(member[None, :].astype(np.float64))


def cells_dependence(cells: IntArray) -> Dependence:
    """That of the shares of ``cells`` (the cell of each record, in order; a negative one is none), on average.

    Pearson's χ² over its effect is the first-order correction of Rao & Scott (J. Am. Stat. Assoc. 76, 1981): the mean
    Σ (1 - p) d / (k - 1) over the k cells with shares p and design effects d.
    """
    counts = np.bincount(cells[cells >= 0])
    held = np.flatnonzero(counts)
    if len(held) < 2:
        return indicator_dependence(cells >= 0)
    members = (cells == held[:, None]) / np.sqrt(np.maximum(counts[held, None], 1))
    return dependence(members)


def greater(one: Dependence, other: Dependence) -> Dependence:
    """The one of the greater effect."""
    return one if one.effect >= other.effect else other


def dependent_ks_p_value(statistic: float, n: int, m: int, of: Dependence) -> float:
    """The chance of a KS statistic between samples of n and m dependent values, by Kolmogorov's limit.

    2 exp(-2 N D²) at N = n m / (n + m) / effect values, which unlike the finite-sample distribution stays a bound where
    few values are independent, with the degrees of freedom of the effect.
    """
    size = n * m / (n + m) / of.effect
    return of.student(min(1.0, 2.0 * exp(-2.0 * size * statistic * statistic)))
