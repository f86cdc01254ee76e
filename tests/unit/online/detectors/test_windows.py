"""Ageing of alarms and dating of changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.detectors.windows import AlarmAges, SlidingColumns, onset, pack, unpack_floats, unpack_integers

YES, NO = np.array([True]), np.array([False])


def test_an_alarm_is_due_after_two_windows() -> None:
    ages = AlarmAges(1, window=500)
    due = [len(ages.update(YES, 100)) for _ in range(25)]
    assert [i for i, d in enumerate(due) if d] == [10, 21]


def test_a_short_pause_does_not_end_an_alarm_and_ten_quiet_looks_do() -> None:
    for pause, expected in ((9, 1), (10, 0)):
        ages = AlarmAges(1, window=500)
        ages.update(YES, 100)
        for _ in range(pause):
            ages.update(NO, 100)
        assert len(ages.update(YES, 100)) == expected


def test_ages_survive_packing() -> None:
    ages, other = AlarmAges(2, 500), AlarmAges(2, 500)
    for _ in range(9):
        ages.update(np.array([True, False]), 100)
    other.unpack(ages.pack())
    for _ in range(5):
        assert ages.update(np.array([True, True]), 100).tolist() == other.update(np.array([True, True]), 100).tolist()


def test_arrays_survive_packing() -> None:
    floats = np.array([[1.5, np.nan], [-0.0, 1e150]])
    assert np.array_equal(unpack_floats(pack(floats)), floats, equal_nan=True)
    assert unpack_integers(pack(np.array([3, -1]))).tolist() == [3, -1]
    unpack_floats(pack(floats))[0, 0] = 2.0


@pytest.mark.parametrize("true", [0, 100, 350])
def test_onset_finds_where_the_share_changed(true: int) -> None:
    rng = np.random.default_rng(9)
    member = np.concatenate((rng.random(true) < 0.3, rng.random(500 - true) < 0.7))
    assert onset(member, 0.3) == pytest.approx(true, abs=40)


def test_onset_of_one_value() -> None:
    assert onset(np.array([True]), 0.5) == 0


@given(st.integers(1, 12), st.lists(st.integers(0, 30), max_size=20))
def test_sliding_columns_hold_the_newest_in_order(size: int, portions: list[int]) -> None:
    columns, pushed = SlidingColumns(2, size, np.int64), np.empty((2, 0), dtype=np.int64)
    for portion in portions:
        new = np.arange(2 * portion).reshape(2, portion) + pushed.shape[1]
        columns.push(new)
        pushed = np.concatenate((pushed, new), axis=1)
        assert np.array_equal(columns.view, pushed[:, -size:])
        assert len(columns) == min(size, pushed.shape[1])
    columns.clear()
    assert len(columns) == columns.view.shape[1] == 0


def test_a_fixed_reference_is_never_due() -> None:
    ages = AlarmAges(1, window=500, mode="fixed")
    assert sum(len(ages.update(YES, 100)) for _ in range(100)) == 0
