"""Incidents against known drifts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.detection import detection
from producers.drifts import TrueDrift


def drift(row, width=0):
    return TrueDrift(row, "concept", None, width)


def test_found_late_false_and_missed():
    result = detection([100, 1200, 1300, 5000], [drift(1000), drift(3000)], within=500)
    assert (result.found, result.missed, result.false_incidents) == (1, 1, 2)
    assert result.delays == [200, None]
    assert result.median_delay == 200
    assert result.precision == pytest.approx(1 / 3)
    assert result.recall == 0.5
    assert result.f1 == pytest.approx(2 / (2 + 2 + 1))


def test_the_window_counts_from_the_end_of_a_gradual_drift():
    assert detection([1900], [drift(1000, width=600)], within=300).found == 1
    assert detection([1901], [drift(1000, width=600)], within=300).false_incidents == 1


def test_an_incident_belongs_to_the_newest_drift():
    result = detection([1100], [drift(1000), drift(1050)], within=500)
    assert result.delays == [None, 50]


def test_drifts_at_one_row_are_one():
    result = detection([1010], [drift(1000), TrueDrift(1000, "covariate", "x")], within=100)
    assert (result.found, result.missed) == (1, 0)


def test_silence_without_drifts_has_no_score():
    result = detection([], [], within=100)
    assert (result.precision, result.recall, result.f1, result.median_delay) == (None, None, None, None)
    assert detection([5], [], within=100).f1 == 0.0


rows = st.integers(0, 10_000)


@given(st.lists(rows), st.lists(st.tuples(rows, st.integers(0, 500)), min_size=1), st.integers(0, 2000))
def test_everything_is_counted_once(positions, changes, within):
    result = detection(positions, [drift(row, width) for row, width in changes], within)
    assert result.found + result.missed == len({row for row, _ in changes})
    assert result.found + result.false_incidents <= len(positions)
    assert 0.0 <= result.f1 <= 1.0
    assert all(delay is None or delay >= 0 for delay in result.delays)


@given(st.lists(rows), st.lists(rows, min_size=1), st.integers(0, 1000), st.integers(0, 1000))
def test_a_wider_window_never_finds_less(positions, changes, within, more):
    drifts = [drift(row) for row in changes]
    narrow, wide = detection(positions, drifts, within), detection(positions, drifts, within + more)
    assert wide.found >= narrow.found
    assert wide.false_incidents <= narrow.false_incidents
