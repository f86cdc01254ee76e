"""The history that shows how dependent records are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from online.detectors.dependence import INDEPENDENT, Dependence
from online.detectors.remembered import MISSING, PORTION, REMEMBERED, Remembered, of_cells, of_ranks

QUIET, ALARMED = np.array([False]), np.array([True])


def size(codes: np.ndarray) -> Dependence:
    return Dependence(float(len(codes)), 1.0)


def ones(records: int) -> np.ndarray:
    return np.ones((1, records), dtype=np.int8)


@given(st.lists(st.integers(1, 400), max_size=60))
def test_estimates_are_of_whole_portions_and_memory_is_bounded(batches: list[int]) -> None:
    remembered, count = Remembered(1, size), 0
    for batch in batches:
        remembered.take(ones(batch), QUIET)
        count += batch
        whole = count - count % PORTION if count >= PORTION else count
        assert remembered.dependence(0).effect == min(whole, REMEMBERED)
    assert len(remembered.state()) < REMEMBERED + PORTION + 100


def test_an_episode_counts_and_a_change_that_lasts_does_not() -> None:
    episode, change = Remembered(1, size), Remembered(1, size)
    for remembered in (episode, change):
        remembered.take(ones(500), QUIET)
        remembered.take(ones(500), ALARMED)
        assert remembered.dependence(0).effect == 500
    change.drop(0)
    for remembered in (episode, change):
        remembered.take(ones(500), QUIET)
    assert (episode.dependence(0).effect, change.dependence(0).effect) == (1500, 1000)


def test_a_restored_state_goes_on_alike() -> None:
    whole, other = Remembered(1, size), Remembered(1, size)
    whole.take(ones(11_003), QUIET)
    whole.take(ones(300), ALARMED)
    other.restore(whole.state())
    for remembered in (whole, other):
        remembered.take(ones(77), QUIET)
    assert (whole.state(), whole.dependence(0)) == (other.state(), other.dependence(0))


def test_spread_that_comes_in_episodes_is_dependence() -> None:
    rng = np.random.default_rng(0)
    wide = np.repeat(rng.random(40) < 0.5, 250)
    ranks = np.clip(rng.normal(size=10_000) * np.where(wide, 60, 20), -127, 127).astype(np.int8)
    assert of_ranks(ranks).effect > 30
    assert of_ranks(rng.permutation(ranks)) == INDEPENDENT


def test_nothing_and_missing_values_are_independent() -> None:
    for codes in (np.empty(0, dtype=np.int8), np.full(1000, MISSING, dtype=np.int8)):
        assert of_ranks(codes) == of_cells(codes) == INDEPENDENT
