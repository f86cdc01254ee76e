"""Distances against SciPy and a formula written by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from online.detectors.distances import jensen_shannon, population_stability, wasserstein

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=20)
VALUES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 2.0])), min_size=1, max_size=40)


def psi_by_hand(reference: list[int], current: list[int]) -> float:
    pairs = [(r, c) for r, c in zip(reference, current, strict=True) if r or c]
    n, m, k = sum(reference), sum(current), len(pairs)
    shares = [((r + 0.5) / (n + 0.5 * k), (c + 0.5) / (m + 0.5 * k)) for r, c in pairs]
    return sum((p - q) * math.log(p / q) for p, q in shares)


@given(COUNTS)
def test_the_stability_index_is_its_formula(counts) -> None:
    reference, current = (np.array(side) for side in zip(*counts, strict=True))
    found = float(population_stability(reference, current))
    assert found == pytest.approx(psi_by_hand(reference.tolist(), current.tolist()), rel=1e-9, abs=1e-12)
    assert found >= 0.0
    assert math.isfinite(found)


def test_the_stability_index_of_many_features_is_that_of_each() -> None:
    rng = np.random.default_rng(1)
    reference, current = rng.integers(0, 30, (5, 10)), rng.integers(0, 30, (5, 10))
    each = [float(population_stability(r, c)) for r, c in zip(reference, current, strict=True)]
    assert population_stability(reference, current).tolist() == pytest.approx(each)


def test_large_samples_reach_the_textbook_value() -> None:
    reference, current = np.array([500_000, 500_000]), np.array([600_000, 400_000])
    textbook = 0.1 * math.log(0.6 / 0.5) - 0.1 * math.log(0.4 / 0.5)
    assert float(population_stability(reference, current)) == pytest.approx(textbook, rel=1e-4)


@given(COUNTS)
def test_jensen_shannon_is_scipys(counts) -> None:
    reference, current = (np.array(side) for side in zip(*counts, strict=True))
    if not reference.sum() or not current.sum():
        return
    truth = jensenshannon(reference / reference.sum(), current / current.sum(), base=2)
    found = jensen_shannon(reference, current)
    assert found == pytest.approx(0.0 if math.isnan(truth) else truth, abs=1e-7)
    assert 0.0 <= found <= 1.0


@given(VALUES, VALUES)
def test_wasserstein_is_scipys_in_deviations_of_the_reference(reference, current) -> None:
    a, b = np.array(reference), np.array(current)
    found = wasserstein(a, b)
    spread = a.std() if a.min() < a.max() else np.concatenate((a, b)).std()
    assert math.isfinite(found)
    if spread > 1e-3:
        assert found == pytest.approx(wasserstein_distance(a, b) / spread, rel=1e-6, abs=1e-6)


def test_wasserstein_of_huge_and_of_constant_samples_is_finite() -> None:
    assert wasserstein(np.full(5, 7.0), np.full(9, 7.0)) == 0.0
    assert wasserstein(np.zeros(5), np.zeros(9)) == 0.0
    assert wasserstein(np.full(50, 1e150), np.full(50, -1e150)) == pytest.approx(2.0)
    assert wasserstein(np.full(50, 1.0), np.full(50, 3.0)) == pytest.approx(2.0)
    assert math.isfinite(wasserstein(np.array([1e150, -1e150]), np.array([1e-300])))
    assert math.isfinite(wasserstein(np.array([1.0, 1.0 + 1e-16, 1.0 + 2.3e-16]), np.array([1e150])))
