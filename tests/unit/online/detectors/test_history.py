"""The history of errors: sums of blocks that equal the errors' own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.detectors.history import BLOCK, ErrorHistory, Sample, batch_dispersion, rise_p_value
from penstock.models import pickles

ERRORS = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=400)


def filled(errors: list[float], capacity: int = 100) -> ErrorHistory:
    history = ErrorHistory(capacity)
    for i in range(0, len(errors) - BLOCK + 1, BLOCK):
        history.append(errors[i : i + BLOCK], i)
    return history


@given(ERRORS)
def test_it_holds_the_newest_errors(errors: list[float]) -> None:
    history = filled(errors)
    errors = errors[: len(errors) // BLOCK * BLOCK]
    kept = errors[-100:]
    sample = history.sample(0)
    assert sample.n == len(kept) == history.blocks * BLOCK
    assert not kept or history.time_of(0) == len(errors) - len(kept)
    if not kept:
        return
    assert sample.mean == pytest.approx(np.mean(kept), abs=1e-9)
    assert sample.variance == pytest.approx(np.var(kept), abs=1e-9)


@given(ERRORS, st.integers(0, 400))
def test_what_is_after_a_split_goes_on_alone(errors: list[float], at: int) -> None:
    history = filled(errors)
    block = min(at, history.blocks)
    kept = errors[: len(errors) // BLOCK * BLOCK][-100:][block * BLOCK :]
    before, after = history.sample(0, block), history.sample(block)
    assert (before.n, after.n) == (block * BLOCK, len(kept))
    history.forget_before(block)
    assert history.sample(0) == after
    again = pickles.loads(pickles.dumps(history))
    for each in (history, again):
        each.append([0.5] * BLOCK, 7)
    assert again.sample(0) == history.sample(0)
    assert history.sample(0).mean == pytest.approx(np.mean([*kept, *[0.5] * BLOCK][-100:]), abs=1e-9)


@given(ERRORS)
def test_the_newest_are_whole_blocks(errors: list[float]) -> None:
    history = filled(errors)
    errors = errors[: len(errors) // BLOCK * BLOCK]
    newest = history.newest(35)
    assert newest.n == min(len(errors), 30)
    assert newest.mean == pytest.approx(np.mean(errors[-newest.n :]) if errors else 0.0, abs=1e-9)
    assert history.newest(1).n == min(len(errors), 10)


def test_the_split_is_where_the_means_part() -> None:
    rng = np.random.default_rng(1)
    errors = np.concatenate((rng.random(300) < 0.1, rng.random(60) < 0.7)).astype(float).tolist()
    history = filled(errors, 1000)
    assert history.split(10) == 30
    assert history.time_of(30) == 300
    assert history.split(200) is None
    assert filled([1.0] * 5).split(1) is None


def test_independent_errors_have_a_dispersion_of_one_and_runs_have_more() -> None:
    rng = np.random.default_rng(2)
    alone = filled((rng.random(9000) < 0.2).astype(float).tolist(), 10_000)
    assert alone.dispersion(900) == pytest.approx(1.0, abs=0.25)
    runs = filled(np.repeat(rng.random(300) < 0.2, 30).astype(float).tolist(), 10_000)
    assert (runs.dispersion(900) or 0.0) > 10.0
    assert filled([0.0] * 800, 1000).dispersion(60) == 1.0
    assert alone.dispersion(39) is None


@given(st.lists(st.floats(0.0, 1.0), min_size=400, max_size=600))
def test_both_forms_of_the_dispersion_agree(errors: list[float]) -> None:
    errors = errors[: len(errors) // BLOCK * BLOCK]
    history = filled(errors, 1000)
    if np.var(errors) > 1e-6:
        assert history.dispersion(history.blocks) == pytest.approx(batch_dispersion(np.array(errors)), rel=1e-6)
    assert batch_dispersion(np.array(errors[:399])) == 1.0
    assert batch_dispersion(np.empty(0)) == 1.0


def test_p_values_of_samples_that_do_not_vary() -> None:
    low, high = Sample(10, 0.0, 0.0), Sample(10, 1.0, 0.0)
    assert (rise_p_value(low, high), rise_p_value(high, low), rise_p_value(low, low)) == (0.0, 1.0, 1.0)
    assert rise_p_value(Sample(0, 0.0, 0.0), Sample(0, 0.0, 0.0)) == 1.0
