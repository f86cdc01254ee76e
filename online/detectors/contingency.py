"""Pearson's χ² of homogeneity of two samples' counts over the same cells."""

from __future__ import annotations

import numpy as np
from scipy.special import chdtrc

from online.detectors.distances import Counts
from online.detectors.windows import IntArray

#: Cells in which the smaller sample expects fewer values than this are pooled: the χ² tail would not hold.
LEAST_EXPECTED = 10.0


def pooled(counts: IntArray, least: float) -> IntArray:
    """The cell of each class: those with ``least`` labels alone, the others gathered by size until a cell has that.

    What is left over joins the last cell. Decided by both samples together, so the choice favours neither.
    """
    cells = np.zeros(len(counts), dtype=np.int64)
    cell, held = 0, 0
    for code in np.argsort(-counts, kind="stable").tolist():
        cells[code] = cell
        held += int(counts[code])
        if held >= least:
            cell, held = cell + 1, 0
    if cell and held < least:
        cells[cells == cell] = cell - 1
    return cells


def pooled_cells(reference: IntArray, current: IntArray) -> IntArray:
    """The cell of each class, `pooled` until the smaller sample expects 10 values in each (neither is empty)."""
    n, m = int(reference.sum()), int(current.sum())
    return pooled(reference + current, LEAST_EXPECTED * (n + m) / min(n, m))


def chi_square(reference: Counts, current: Counts) -> float:
    """Pearson's statistic (1900) of counts over the same cells, none of them empty in both samples."""
    both = reference + current
    share = float(current.sum() / both.sum())
    expected = both * share
    square = (current - expected) ** 2
    return float(np.sum(square / expected + square / (both - expected)))


def chi_square_p_value(statistic: float, cells: int) -> float:
    """Its asymptotic p-value; 1 where everything is in one cell."""
    return float(chdtrc(cells - 1, statistic)) if cells > 1 else 1.0
