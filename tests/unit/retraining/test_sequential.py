"""The bound holds at all looks at once, and still finds what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from retraining.sequential import lower_bound

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
