"""Pearson's χ² against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from online.detectors.contingency import chi_square, chi_square_p_value, pooled_cells

COUNT = st.integers(1, 400)


@given(st.lists(st.tuples(COUNT, COUNT), min_size=2, max_size=12))
def test_statistic_and_p_value_are_scipys(pairs: list[tuple[int, int]]) -> None:
    reference, current = np.array(pairs, dtype=np.int64).T
    truth = chi2_contingency([reference, current], correction=False)
    statistic = chi_square(reference, current)
    assert statistic == pytest.approx(truth.statistic, rel=1e-9, abs=1e-9)
    assert chi_square_p_value(statistic, len(pairs)) == pytest.approx(truth.pvalue, rel=1e-6, abs=1e-300)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=12))
def test_every_cell_expects_ten_values_of_the_smaller_sample(pairs: list[tuple[int, int]]) -> None:
    reference, current = np.array(pairs, dtype=np.int64).T
    n, m = int(reference.sum()), int(current.sum())
    if not min(n, m):
        return
    both = np.bincount(pooled_cells(reference, current), weights=reference + current)
    assert len(both) == 1 or (both * min(n, m) / (n + m) >= 10 - 1e-9).all()


def test_one_cell_says_nothing() -> None:
    assert chi_square_p_value(0.0, 1) == 1.0
