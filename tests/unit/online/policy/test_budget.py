"""The shares of the bound on false incidents."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from online.detectors.labelled import learner_signal_count
from online.detectors.significance import signal_count
from online.policy.budget import GROUPS, SHARES, kind_level, outcome_count
from penstock.events import DriftKind
from penstock.spec import DriftPolicy
from tests.unit.online.policy.feed import PIPELINE

#: So often that no hourly look can come before.
LOOK_EVERY = 50
LOOKS = 50_000 / LOOK_EVERY


def test_every_kind_has_a_share_and_they_are_all_of_it() -> None:
    assert set(GROUPS) == set(get_args(DriftKind))
    assert set(GROUPS.values()) == set(SHARES)
    assert sum(SHARES.values()) == 1.0


@pytest.mark.parametrize("bound", [0.1, 1.0, 5.0])
def test_the_expected_false_incidents_of_all_looks_are_the_bound(bound: float) -> None:
    pipeline = replace(
        PIPELINE, protected=("x0",), drift=DriftPolicy(false_incidents_per_50k=bound, look_every=LOOK_EVERY)
    )
    inputs = signal_count(pipeline) * kind_level(pipeline, "covariate")
    outcomes = outcome_count(pipeline) * kind_level(pipeline, "fairness")
    assert LOOKS * (inputs + outcomes) == pytest.approx(bound * (1 - SHARES["errors"]))


def test_a_protected_attribute_makes_more_signals() -> None:
    assert outcome_count(replace(PIPELINE, protected=("x0", "x1"))) == learner_signal_count(PIPELINE) + 4
