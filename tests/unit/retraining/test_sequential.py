"""The bound holds at all looks at once, and still finds what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.sequential import BETTER, SAME, Scenario, decided, run
from retraining.rivalry import Rivalry
from retraining.sequential import LEAST_ROWS, least_gain, lower_bound

LOOKS = range(200, 4001, 100)


def crossed(values: NDArray[np.float64], alpha: float) -> int | None:
    """The first look at which the mean is known to be above 0."""
    return next(
        (n for n in LOOKS if lower_bound(float(values[:n].mean()), float(values[:n].std()), n, alpha) > 0.0), None
    )


@pytest.mark.parametrize("draw", ["normal", "skewed", "heavy"])
def test_without_a_difference_it_is_crossed_at_most_as_often_as_said(draw: str) -> None:
    rng = np.random.default_rng(5)
    draws = {
        "normal": lambda: rng.normal(size=4000),
        "skewed": lambda: rng.exponential(size=4000) - 1.0,
        "heavy": lambda: rng.standard_t(5, size=4000),
    }
    false = sum(crossed(draws[draw](), 0.05) is not None for _ in range(1000))
    assert false / 1000 <= 0.05


def test_a_difference_of_a_fifth_of_its_spread_is_found_within_a_thousand() -> None:
    rng = np.random.default_rng(6)
    found = [crossed(rng.normal(0.2, 1.0, size=4000), 0.05) for _ in range(200)]
    assert np.median([n for n in found if n is not None]) <= 500
    assert sum(n is not None and n <= 1000 for n in found) >= 195


def test_nothing_is_known_of_nothing() -> None:
    assert lower_bound(1.0, 1.0, 0, 0.05) == -math.inf
    assert lower_bound(1.0, math.inf, 10, 0.05) == -math.inf


@pytest.mark.parametrize("scenario", SAME, ids=lambda scenario: scenario.name)
def test_of_two_equal_models_hardly_ever_one_wins(scenario: Scenario) -> None:
    second, first = run(scenario, streams=400, rows=3000, seed=1)
    assert (second > 0).mean() <= 0.05
    assert (first > 0).mean() <= 0.05


@pytest.mark.parametrize("scenario", [BETTER[0], BETTER[2]], ids=lambda scenario: scenario.name)
def test_the_better_of_two_models_wins(scenario: Scenario) -> None:
    second, first = run(scenario, streams=50, rows=4000, seed=2)
    assert (second > 0).mean() >= 0.9
    assert not first.any()


def rivalry_of(values: NDArray[np.float64], look: int = 100) -> Rivalry:
    sums = [float(values[start : start + look].sum()) for start in range(0, len(values), look)]
    return Rivalry(
        len(values), float(values.sum()), 0.0, float((values**2).sum()), len(sums), sum(each**2 / look for each in sums)
    )


def test_the_simulation_decides_as_the_product_does() -> None:
    values = np.random.default_rng(4).normal(0.1, 1.0, size=(20, 3000))
    for row, stream in zip(decided(values), values, strict=True):
        crossed = [n for n in range(100, 3001, 100) if least_gain(rivalry_of(stream[:n]), 0.05) > 0.0]
        assert (crossed[0] if crossed else 0) == row


def test_few_rows_and_rows_that_resemble_their_neighbours_say_less() -> None:
    values = np.random.default_rng(5).normal(0.2, 1.0, size=2000)
    assert least_gain(rivalry_of(values[: LEAST_ROWS - 1]), 0.05) == -math.inf
    repeated = np.repeat(values[:100], 20)
    assert least_gain(rivalry_of(repeated), 0.05) < least_gain(
        rivalry_of(np.random.default_rng(6).permutation(repeated)), 0.05
    )


@given(st.lists(st.tuples(st.integers(1, 99), *[st.floats(-9, 9)] * 2), min_size=3, max_size=9))
def test_seen_from_the_other_version_the_gain_is_the_loss(looks: list[tuple[int, float, float]]) -> None:
    rivalry = Rivalry(
        500, sum(a for _, a, _ in looks), sum(b for _, _, b in looks), 900.0, len(looks), sum(n for n, _, _ in looks)
    )
    assert rivalry.turned().turned() == rivalry
    assert not (least_gain(rivalry, 0.05) > 0.0 and least_gain(rivalry.turned(), 0.05) > 0.0)
