"""The likelihood-ratio detector: its statistic, when it looks, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.detectors.history import BLOCK, ErrorHistory
from online.detectors.likelihood_ratio import REMEMBERED, THRESHOLD, LikelihoodRatio


def suspicions(errors: np.ndarray) -> list[int]:
    history = ErrorHistory(REMEMBERED)
    detector = LikelihoodRatio(history)
    rows = []
    for end in range(BLOCK, len(errors) + 1, BLOCK):
        block = errors[end - BLOCK : end].tolist()
        history.append(block, end)
        if detector.update(block):
            rows.append(end - 1)
    return rows


def plainly(errors: np.ndarray) -> bool:
    """The formula of the docstring at the end of ``errors``, moment by moment."""
    n, best, at = len(errors), 0.0, 0
    mean = errors.mean()
    if not 0.0 < mean < 1.0:
        return False
    v = min(1.0, max(0.01, errors.var() / (mean * (1 - mean))))
    lags = [10, 20, 30, 40, 50]
    while lags[-1] < 2000:
        lags.append(max(lags[-1] + 10, 10 * round(lags[-1] / 10 * 1.1)))
    for k in (lag for lag in lags if lag <= n - 400):
        a, b = errors[:-k].mean(), errors[-k:].mean()
        over = ((n - k) * kl(a, mean) + k * kl(b, mean)) / v / (THRESHOLD * max(1.0, 50 / k))
        best, at = max((best, at), (over, k))
    if not at:
        return False
    batches = errors[: n - at][(n - at) % 50 :].reshape(-1, 50)
    spread = errors[: n - at].var()
    dispersion = max(1.0, batches.mean(axis=1).var(ddof=1) * 50 / spread) if spread else 1.0
    return bool(best > max(1.0, dispersion))


def kl(p: float, q: float) -> float:
    return sum(x * np.log(x / y) for x, y in ((p, q), (1 - p, 1 - q)) if x > 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.6), st.floats(0.0, 0.9), st.integers(45, 90), st.integers(1, 40))
def test_the_first_suspicion_is_the_formulas(seed: int, low: float, high: float, before: int, after: int) -> None:
    rng = np.random.default_rng(seed)
    errors = np.concatenate((rng.random(before * 10) < low, rng.random(after * 10) < high)).astype(float)
    if seed % 2:
        errors *= rng.random(len(errors))
    expected = next((end - 1 for end in range(10, len(errors) + 1, 10) if plainly(errors[:end])), None)
    assert next(iter(suspicions(errors)), None) == expected


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_constant_error_is_no_change(level: float) -> None:
    assert suspicions(np.full(3000, level)) == []


def test_a_short_burst_needs_more_evidence() -> None:
    rng = np.random.default_rng(1)
    errors = (rng.random(3000) < 0.1).astype(float)
    errors[2000:2012] = 1.0
    assert suspicions(errors) == []
    errors[2000:2050] = 1.0
    assert 2012 < suspicions(errors)[0] < 2050


def test_small_values_are_told_apart_by_their_own_variance() -> None:
    rng = np.random.default_rng(1)
    errors = np.concatenate((rng.normal(0.2, 0.02, 1000), rng.normal(0.22, 0.02, 300)))
    assert 1000 < suspicions(errors)[0] < 1200
