"""Design effects of series and of cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.detectors.dependence import cells_design_effect, design_effect, indicator_design_effect


def test_independent_records_have_none() -> None:
    rng = np.random.default_rng(0)
    effects = [design_effect(rng.normal(size=(1, 1000))) for _ in range(400)]
    assert sum(effect > 1.0 for effect in effects) <= 8
    cells = [cells_design_effect(rng.integers(0, 7, 1000)) for _ in range(400)]
    assert sum(effect > 1.0 for effect in cells) <= 8


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.8])
def test_an_autoregression_has_its_long_run_variance(correlation: float) -> None:
    rng = np.random.default_rng(1)
    noise, series = rng.normal(size=(300, 2000)), np.zeros((300, 2000))
    for t in range(1, 2000):
        series[:, t] = correlation * series[:, t - 1] + noise[:, t]
    median = np.median([design_effect(one[None, 1000:]) for one in series])
    truth = (1 + correlation) / (1 - correlation)
    assert truth * 0.8 < median < truth * 1.8  # the greatest of several estimates errs on the safe side


def test_days_of_a_week_are_as_many_values_as_there_are_days() -> None:
    days = np.arange(1008) // 48 % 7
    assert 30 < cells_design_effect(days) < 125
    assert cells_design_effect(np.random.default_rng(2).permutation(days)) == 1.0


def test_of_two_cells_either_tells_all() -> None:
    member = np.repeat(np.random.default_rng(3).random(50) < 0.3, 20)
    assert cells_design_effect(member.astype(np.int64)) == pytest.approx(indicator_design_effect(member))


@given(st.lists(st.integers(-1, 5), max_size=300))
def test_any_cells_have_a_finite_effect_of_at_least_one(cells: list[int]) -> None:
    effect = cells_design_effect(np.array(cells, dtype=np.int64))
    assert 1.0 <= effect <= 126.0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e150])
def test_a_constant_has_none(value: float) -> None:
    assert design_effect(np.full((2, 1000), value)) == 1.0
