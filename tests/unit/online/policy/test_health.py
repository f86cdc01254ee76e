"""Drift score and health, as the formula says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.policy.health import condition, drift_score, health, is_served
from online.policy.merging import merged
from tests.unit.online.policy.feed import finding, ks


def test_health_is_lost_to_drift_errors_and_failures() -> None:
    assert health(0.0, 0.0) == 1.0
    assert health(0.5, 0.05, 0.02) == pytest.approx(1 - 0.4 * 0.5 - 0.4 * 0.5 - 0.2 * 0.2)
    assert health(1.0, 0.3, 1.0) == pytest.approx(0.0, abs=1e-12)


@given(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1))
def test_health_is_in_the_unit_interval(score: float, drop: float, errors: float) -> None:
    assert 0.0 <= health(score, drop, errors) <= 1.0


def test_conditions() -> None:
    assert [condition(value) for value in (0.81, 0.8, 0.6, 0.59)] == ["good", "warning", "warning", "critical"]


def test_the_drift_score_is_of_features_and_the_population_alone() -> None:
    found = [ks("x0", 0.2), finding("population", 0.3), finding("schema", 0.9), finding("prediction", 0.8)]
    assert drift_score(merged([one], 1) for one in found) == 0.3
    assert drift_score([]) == 0.0


def test_only_the_performance_of_what_was_served_counts() -> None:
    served = [finding("concept", 0.1, version="champion"), finding("performance", 0.1)]
    others = [finding("concept", 0.1, version="online"), finding("prior", 0.1), ks("x0", 0.1)]
    assert all(is_served(merged([one], 1)) for one in served)
    assert not any(is_served(merged([one], 1)) for one in others)
