from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.scales import CLIP, WARM_UP, RobustScale


def test_scale_matches_the_plain_mean_and_spread_of_ordinary_numbers():
    scale = RobustScale()
    values = [math.sin(i) * 3 + 7 for i in range(2000)]
    for value in values:
        scale.update(value)
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    assert scale.mean == pytest.approx(mean, rel=1e-9)
    assert scale.spread == pytest.approx(spread, rel=1e-9)


@pytest.mark.parametrize("position", [3, WARM_UP + 5, 500])
def test_an_outlier_of_a_billion_hardly_moves_the_scale(position):
    plain, spoilt = RobustScale(), RobustScale()
    for i in range(1000):
        value = float(i % 17)
        plain.update(value)
        spoilt.update(1e9 if i == position else value)
    assert spoilt.standardise(8.0) == pytest.approx(plain.standardise(8.0), abs=0.3)
    assert 0.5 < spoilt.spread / plain.spread < 2.0
    assert spoilt.standardise(1e9) == CLIP


def test_a_constant_column_that_starts_to_move_is_scaled_afresh():
    scale = RobustScale()
    for _ in range(15_000):
        scale.update(5.0)
    assert scale.standardise(5.0) == 0.0
    for i in range(3000):
        scale.update(100.0 + i % 10)
    assert scale.standardise(104.5) == pytest.approx(0.0, abs=0.01)
    assert scale.spread == pytest.approx(2.87, abs=0.01)


def test_a_change_of_unit_is_followed():
    scale = RobustScale()
    for i in range(12_000):
        scale.update(float(i % 10))
    for i in range(500):
        scale.update(1000.0 * (i % 9 + 1))
    assert scale.standardise(5000.0) == pytest.approx(0.0, abs=0.1)
    assert scale.standardise(9000.0) - scale.standardise(1000.0) == pytest.approx(3.1, abs=0.2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=120))
def test_scales_are_finite_whatever_the_numbers(values):
    scale = RobustScale()
    for value in values:
        assert -CLIP <= scale.standardise(value) <= CLIP
        scale.update(value)
        assert math.isfinite(scale.mean)
        assert math.isfinite(scale.spread)
