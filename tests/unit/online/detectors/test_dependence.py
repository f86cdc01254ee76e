"""How much dependent records tell, and what that leaves of p-values."""

from __future__ import annotations

from math import inf, isfinite

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import norm, t

from online.detectors.dependence import (
    INDEPENDENT,
    Dependence,
    cells_dependence,
    dependence,
    dependent_ks_p_value,
    indicator_dependence,
)


def autoregression(rng: np.random.Generator, correlation: float, records: int) -> np.ndarray:
    noise = rng.normal(size=records) * np.sqrt(1 - correlation**2)
    noise[0] = rng.normal()
    return np.asarray(lfilter([1.0], [1.0, -correlation], noise))[None, :]


def test_independent_records_have_none() -> None:
    rng = np.random.default_rng(0)
    assert sum(dependence(rng.normal(size=(1, 1000))) != INDEPENDENT for _ in range(400)) <= 4
    assert sum(cells_dependence(rng.integers(0, 7, 1000)) != INDEPENDENT for _ in range(400)) <= 4


@pytest.mark.parametrize(("correlation", "records"), [(0.3, 1000), (0.8, 1000), (0.95, 4000), (0.99, 10_000)])
def test_an_autoregression_has_its_long_run_variance(correlation: float, records: int) -> None:
    rng = np.random.default_rng(1)
    found = [dependence(autoregression(rng, correlation, records)) for _ in range(40)]
    truth = (1 + correlation) / (1 - correlation)
    assert np.median([one.effect for one in found]) == pytest.approx(truth, rel=0.15)
    assert np.median([one.degrees for one in found]) == pytest.approx(records / (1 + 2 * truth), rel=0.3)


def test_slow_changes_under_noise_are_seen_in_long_batches() -> None:
    rng = np.random.default_rng(2)
    found = [dependence(autoregression(rng, 0.99, 10_000) + rng.normal(size=10_000)).effect for _ in range(30)]
    assert 60 < np.median(found) < 170  # the truth is 100; of single records' correlation 3 would follow


def test_a_short_cycle_evens_out() -> None:
    cycle = np.sin(np.arange(10_000) * 2 * np.pi / 24)[None, :]
    assert dependence(cycle).effect < 2.0


def test_days_of_a_week_are_no_independent_records() -> None:
    days = np.arange(1008) // 48 % 7
    assert cells_dependence(days).effect > 30
    assert cells_dependence(np.random.default_rng(4).permutation(days)) == INDEPENDENT


def test_of_two_cells_either_tells_all() -> None:
    member = np.repeat(np.random.default_rng(5).random(50) < 0.3, 20)
    both, one = cells_dependence(member.astype(np.int64)), indicator_dependence(member)
    assert (both.effect, both.degrees) == pytest.approx((one.effect, one.degrees))


@given(st.lists(st.integers(-1, 5), max_size=300))
def test_any_cells_have_a_finite_effect_of_at_least_one(cells: list[int]) -> None:
    found = cells_dependence(np.array(cells, dtype=np.int64))
    assert 1.0 <= found.effect <= max(1.0, len(cells) / 2)
    assert found.degrees > 0.0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e150])
def test_a_constant_has_none(value: float) -> None:
    assert dependence(np.full((2, 1000), value)) == INDEPENDENT


def test_p_values_are_students() -> None:
    p_value = float(2 * norm.sf(5.0))
    assert Dependence(3.0, inf).student(p_value) == p_value
    assert Dependence(3.0, 8.0).student(p_value) == pytest.approx(2 * t.sf(5.0, 8.0))


@given(st.floats(0.0, 1.0), st.floats(0.1, 1e4))
def test_estimating_never_lessens_a_p_value(p_value: float, degrees: float) -> None:
    assert p_value <= Dependence(2.0, degrees).student(p_value) <= 1.0


def test_few_independent_values_never_alarm() -> None:
    assert dependent_ks_p_value(1.0, 1000, 1000, Dependence(200.0, 2.5)) > 0.01
    assert isfinite(dependent_ks_p_value(1.0, 1000, 1000, Dependence(1.5, 300.0)))
