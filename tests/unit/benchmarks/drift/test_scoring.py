"""Matching of alarms with drifts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.drift.scoring import WITHIN, Change, Judged, judge, random_alarms, summary

ROWS = 20_000
DRIFTS = (Change(4000), Change(9000, width=1000))
Alarms = st.lists(st.integers(0, ROWS - 1), max_size=40)


def test_the_first_alarm_in_a_window_is_the_hit_and_the_delay_counts_from_the_drifts_first_row() -> None:
    judged = judge([4200, 4100, 10_500], DRIFTS, ROWS)
    assert judged.delays == (100, 1500)
    assert judged.false == ()


def test_an_alarm_outside_of_all_windows_is_false_and_a_second_one_inside_is_neither() -> None:
    judged = judge([3999, 4000, 4001, 4000 + WITHIN, 11_000], DRIFTS, ROWS)
    assert judged.delays == (0, None)
    assert judged.false == (3999, 4000 + WITHIN, 11_000)
    figures = summary([judged])
    assert figures.f1 == pytest.approx(2 / (2 + 3 + 1))
    assert figures.detection_rate == 0.5


def test_stationary_rows_are_those_outside_of_the_windows_also_where_the_stream_ends_within_one() -> None:
    assert judge([], DRIFTS, ROWS).stationary == ROWS - WITHIN - (WITHIN + 1000)
    assert judge([], [Change(19_500)], ROWS).stationary == 19_500
    assert judge([], [], ROWS).stationary == ROWS


def test_overlapping_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        judge([], [Change(100), Change(600)], ROWS)


@pytest.mark.parametrize(
    ("outcomes", "f1", "rate"),
    [
        ([Judged((), (), 10_000)], 1.0, 1.0),
        ([Judged((), (5,), 10_000)], 0.0, 1.0),
        ([Judged((None,), (), 10_000)], 0.0, 0.0),
        ([Judged((7,), (), 10_000)], 1.0, 1.0),
    ],
)
def test_f1_at_the_borders(outcomes: list[Judged], f1: float, rate: float) -> None:
    figures = summary(outcomes)
    assert (figures.f1, figures.detection_rate) == (f1, rate)


def test_a_family_weighs_drifts_and_rows_not_streams() -> None:
    figures = summary([Judged((10, 30, None), (1,), 30_000), Judged((20,), (1, 2), 10_000)])
    assert figures.detection_rate == 0.75
    assert figures.false_per_10k == pytest.approx(0.75)
    assert (figures.median_delay, figures.drifts, figures.streams) == (20, 4, 2)
    assert figures.p90_delay == pytest.approx(28.0)


@given(Alarms)
def test_every_alarm_is_a_hit_a_repeat_within_a_window_or_false(alarms: list[int]) -> None:
    judged = judge(alarms, DRIFTS, ROWS)
    inside = [row for row in alarms if any(row in drift.window for drift in DRIFTS)]
    assert len(judged.false) + len(inside) == len(alarms)
    hits = sum(delay is not None for delay in judged.delays)
    assert hits <= len(inside)
    assert (hits == 0) == (not inside)


@given(Alarms, st.integers(0, ROWS - 1))
def test_one_more_alarm_never_lowers_the_detection_rate_nor_the_false_alarms(alarms: list[int], more: int) -> None:
    before, after = summary([judge(alarms, DRIFTS, ROWS)]), summary([judge([*alarms, more], DRIFTS, ROWS)])
    assert after.detection_rate >= before.detection_rate
    assert after.false_per_10k >= before.false_per_10k


@given(Alarms)
def test_the_order_of_alarms_does_not_count(alarms: list[int]) -> None:
    assert judge(alarms, DRIFTS, ROWS) == judge(sorted(alarms, reverse=True), DRIFTS, ROWS)


def test_the_dummy_alarms_as_often_as_asked_and_repeats_with_its_seed() -> None:
    alarms = random_alarms(0.01, 100_000, seed=3)
    assert 900 < len(alarms) < 1100
    assert alarms == random_alarms(0.01, 100_000, seed=3) != random_alarms(0.01, 100_000, seed=4)
    assert random_alarms(0.0, 1000, seed=1) == []
