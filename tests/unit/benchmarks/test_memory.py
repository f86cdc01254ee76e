"""Quarters of a run."""

from __future__ import annotations

import pytest

from benchmarks.memory import PORTIONS, quarter_peaks


def test_each_quarter_has_its_own_peak() -> None:
    assert quarter_peaks([1.0, 5.0, 2.0, 2.0, 3.0, 2.0, 4.0, 1.0]) == [5.0, 2.0, 3.0, 4.0]


def test_an_interrupted_run_leaves_no_portion_out() -> None:
    assert quarter_peaks([1.0, 2.0, 3.0, 4.0, 6.0, 5.0]) == [1.0, 3.0, 4.0, 6.0]
    with pytest.raises(ValueError, match="empty"):
        quarter_peaks([1.0, 2.0, 3.0])


def test_the_portions_divide_into_quarters() -> None:
    assert PORTIONS % 4 == 0
