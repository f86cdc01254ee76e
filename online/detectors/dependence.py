"""How much less a stretch of a dependent series tells than as many independent records: its design effect."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import chdtri

from online.detectors.windows import BoolArray, FloatArray, IntArray

#: Records per batch, and the least number of batches to estimate a variance from.
BATCHES, LEAST_BATCHES = (5, 10, 25, 50, 125), 8
#: How seldom independent records are taken for dependent ones, at each batch size.
CHANCE = 1e-3
#: A variance below this share of the mean square is rounding.
ROUNDING = 1e-9
#: p-values above this are far from any alarm as they are: only smaller ones are worth the correction.
SUSPECT = 0.01


@lru_cache(maxsize=1024)
def _greatest_by_chance(degrees: int) -> float:
    return float(chdtri(degrees, CHANCE)) / degrees


def design_effect(series: FloatArray) -> float:
    """How many times the variance of a mean is that of as many independent records, at least 1.

    ``series`` (components × records, in order). By the method of batch means (Law & Kelton, Simulation Modeling and
    Analysis): b × the variance of the means of b records over the variance of the records, each summed over the
    components; the greatest over batches of 5, 10, 25, 50 and 125 records that are 8 or more. Exactly 1 unless one of
    these ratios is beyond what independent records exceed once in a thousand, so that noise costs no power.
    """
    components, records = series.shape
    alone = float(series.var(axis=1).sum()) if records else 0.0
    if alone <= ROUNDING * float(np.square(series).sum()) / max(1, records):
        return 1.0
    upto = np.zeros((components, records + 1))
    np.cumsum(series, axis=1, out=upto[:, 1:])
    greatest, dependent = 1.0, False
    for size in BATCHES:
        count = records // size
        if count < LEAST_BATCHES:
            break
        sums = np.diff(upto[:, records - count * size :: size], axis=1)
        ratio = float(sums.var(axis=1, ddof=1).sum()) / (size * alone)
        greatest = max(greatest, ratio)
        dependent |= ratio > _greatest_by_chance((count - 1) * max(1, components - 1))
    return greatest if dependent else 1.0


def indicator_design_effect(member: BoolArray) -> float:
    """That of the share of true values (in order)."""
    return design_effect(member[None, :].astype(np.float64))


def cells_design_effect(cells: IntArray) -> float:
    """The mean design effect of the shares of ``cells`` (the cell of each record, in order; a negative one is none).

    Pearson's χ² over it is the first-order correction of Rao & Scott (J. Am. Stat. Assoc. 76, 1981): the mean
    Σ (1 - p) d / (k - 1) over the k cells with shares p and design effects d.
    """
    counts = np.bincount(cells[cells >= 0])
    held = np.flatnonzero(counts)
    members = (cells == held[:, None]) / np.sqrt(np.maximum(counts[held, None], 1))
    return design_effect(members)
