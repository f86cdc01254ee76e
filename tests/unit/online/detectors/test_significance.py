"""The level that makes the bound hold."""

from __future__ import annotations

import pytest

from online.detectors.significance import monitored_count, signal_count, significance_level
from penstock.spec import Boolean, Categorical, Date, DriftPolicy, Numeric, Pipeline

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=(
        Numeric("free"),
        Numeric("ranged", low=0.0),
        Categorical("any"),
        Categorical("listed", values=("a",)),
        Boolean("flag"),
        Date("day"),
    ),
)


def test_dates_are_not_monitored() -> None:
    assert monitored_count(PIPELINE) == 5


def test_signals_are_distribution_missing_and_what_the_spec_declares() -> None:
    assert signal_count(PIPELINE) == 2 * (5 + 2 + 5 + 2) + 6 * 2 + 4 + 1


@pytest.mark.parametrize("signals", [1, 20, 600])
@pytest.mark.parametrize("look_every", [1, 100])
def test_the_expected_number_of_false_alarms_is_the_bound(signals: int, look_every: int) -> None:
    policy = DriftPolicy(look_every=look_every, false_incidents_per_50k=0.5)
    assert significance_level(policy, signals) * signals * (50_000 / min(look_every, 50)) == pytest.approx(0.5)


def test_a_level_is_a_probability() -> None:
    assert significance_level(DriftPolicy(look_every=50_000, false_incidents_per_50k=2000), 1) == 1.0
