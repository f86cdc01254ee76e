"""Thresholds, as declared and as changed by people."""

from __future__ import annotations

from dataclasses import fields, replace

import msgspec
import pytest

from online.policy.fold import IncidentPolicy
from online.policy.merging import merged
from online.policy.thresholds import Thresholds, changed, effective
from penstock.events import DriftThresholds, Finding, PolicyChange
from penstock.spec import DriftPolicy
from tests.unit.online.policy.feed import PIPELINE, Feed, adwin, finding, ks, summary

NAMES = DriftThresholds.__struct_fields__


def test_thresholds_are_what_the_policy_has_beside_the_detectors_state() -> None:
    """Another value of a threshold leaves the state's digest as it is; all other fields move it."""
    others = {field.name for field in fields(DriftPolicy)} - set(NAMES)
    assert set(NAMES) <= {field.name for field in fields(DriftPolicy)}
    for name in NAMES:
        value = getattr(DriftPolicy(), name)
        policy = replace(DriftPolicy(), **{name: value + 1 if name == "quiet_looks" else value + 0.01})
        assert replace(PIPELINE, drift=policy).state_digest() == replace(PIPELINE, drift=DriftPolicy()).state_digest()
    assert {"window", "reference", "look_every", "adwin_delta"} <= others


def test_an_effect_at_its_floor_opens_and_one_below_does_not() -> None:
    thresholds = Thresholds(PIPELINE)
    for kind, floor in {
        "covariate": PIPELINE.drift.effect_floor,
        "schema": PIPELINE.drift.effect_floor,
        "prior": PIPELINE.drift.prior_floor,
        "prediction": PIPELINE.drift.prediction_floor,
        "uncertainty": PIPELINE.drift.uncertainty_floor,
        "population": PIPELINE.drift.population_floor,
        "fairness": PIPELINE.drift.fairness_floor,
        "performance": PIPELINE.drift.performance_floor,
    }.items():
        assert thresholds.opens(merged([finding(kind, floor)], 1)), kind
        assert not thresholds.opens(merged([finding(kind, floor - 0.001)], 1)), kind


def test_without_a_floor_no_effect_is_still_none() -> None:
    thresholds = Thresholds(replace(PIPELINE, drift=DriftPolicy(fairness_floor=0.0)))
    assert thresholds.opens(merged([finding("fairness", 0.001)], 1))
    assert not thresholds.opens(merged([finding("fairness", 0.0)], 1))


@pytest.mark.parametrize("seen", [ks("x0", 0.3), adwin("champion", 0.1), finding("fairness", 0.2)])
def test_what_opens_also_holds(seen: Finding) -> None:
    thresholds, signal = Thresholds(PIPELINE), merged([seen], 1)
    assert thresholds.holds(signal)
    assert not thresholds.holds(merged([msgspec.structs.replace(seen, p_value=0.01)], 1))


def test_a_certain_p_value_never_opens_however_loose_the_bound() -> None:
    loose = replace(PIPELINE, drift=DriftPolicy(false_incidents_per_50k=1e9))
    assert not Thresholds(loose).opens(merged([finding("prediction", 0.9, p_value=1.0)], 1))


def test_changes_add_up_until_a_reset() -> None:
    first = changed(DriftThresholds(), PolicyChange(by="ada", thresholds=DriftThresholds(effect_floor=0.2)))
    second = changed(first, PolicyChange(by="ada", thresholds=DriftThresholds(quiet_looks=5)))
    assert second == DriftThresholds(effect_floor=0.2, quiet_looks=5)
    assert effective(DriftPolicy(window=500), second) == DriftPolicy(window=500, effect_floor=0.2, quiet_looks=5)
    third = changed(second, PolicyChange(by="ada", thresholds=DriftThresholds(psi_warning=0.3), reset=True))
    assert third == DriftThresholds(psi_warning=0.3)


@pytest.mark.parametrize("bad", [{"effect_floor": 1.5}, {"quiet_looks": 0}, {"false_incidents_per_50k": 0.0}])
def test_thresholds_that_no_policy_can_have_break_the_contract(bad: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, DriftThresholds)


def test_a_change_holds_from_its_offset_for_what_opens_and_what_stays_open() -> None:
    feed = Feed()
    assert feed(ks("x0", 0.08)) == []
    assert feed.change(effect_floor=0.05) == []
    assert summary(feed(ks("x0", 0.08), looks=5)) == [("opened", "covariate", "warning")]
    feed.change(effect_floor=0.3, quiet_looks=2)
    assert summary(feed(ks("x0", 0.08), looks=2)) == [("closed", "covariate", "warning")]
    feed.change(reset=True)
    assert feed(ks("x0", 0.08)) == []
    assert len(feed(ks("x0", 0.1))) == 1


def test_a_change_is_part_of_the_state() -> None:
    feed = Feed()
    feed.change(effect_floor=0.3)
    fresh = IncidentPolicy(PIPELINE)
    fresh.restore(feed.policy.state())
    feed.policy = fresh
    assert feed(ks("x0", 0.29)) == []
    assert len(feed(ks("x0", 0.3))) == 1
