"""Evidence of several partitions, merged signal by signal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.policy.merging import NewestEvidence, SignalKey, alone, is_look, merged
from penstock.events import Evidence, Finding
from tests.unit.online.policy.feed import adwin, ks


def evidence(*found: Finding, partition: int = 0, generation: int = 0, stage: Any = "monitor") -> Evidence:
    return Evidence(
        stage=stage,
        partition=partition,
        seen=100,
        record_id="r",
        event_time_ms=0,
        generation=generation,
        findings=list(found),
    )


def test_effects_are_weighted_by_windows_and_the_least_p_value_counts() -> None:
    signal = merged([ks("x0", 0.1, 1e-3, n_current=300), ks("x0", 0.4, 1e-9, n_current=100)], partitions=3)
    assert signal.effect == pytest.approx(0.175)
    assert (signal.least_p_value, signal.p_value) == (1e-9, pytest.approx(3e-9))
    assert signal.finding.effect == 0.4


def test_one_finding_alone_is_as_it_says() -> None:
    assert alone(ks("x0", 0.2, 1e-5, measures={"psi": 0.3}))[1:] == (0.2, 1e-5, 1e-5, 0.3, False)
    assert alone(adwin("champion", 0.2)).fired


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000)), min_size=1, max_size=12))
def test_a_merged_signal_lies_between_its_parts(parts: list[tuple[float, float, int]]) -> None:
    signal = merged([ks("x0", effect, p, n_current=n) for effect, p, n in parts], partitions=len(parts))
    assert 0.0 <= signal.effect <= max(effect for effect, _, _ in parts) + 1e-12
    assert signal.least_p_value == min(p for _, p, _ in parts)
    assert 0.0 <= signal.least_p_value <= signal.p_value <= 1.0


def test_features_versions_and_kinds_are_signals_of_their_own() -> None:
    newest = NewestEvidence()
    newest.take(evidence(ks("x0", 0.1), ks("x1", 0.1), adwin("online", 0.1)))
    assert set(newest.signals("monitor", 10)) == {
        SignalKey("covariate", "ks", "x0"),
        SignalKey("covariate", "ks", "x1"),
        SignalKey("concept", "adwin", "online"),
    }


def test_an_alarm_between_two_looks_is_held_beside_the_last_look() -> None:
    newest, alarm = NewestEvidence(), evidence(adwin("champion", 0.3))
    newest.take(evidence(ks("x0", 0.1), adwin("champion", 0.0, fired=False)))
    assert not is_look(alarm)
    newest.take(alarm)
    signals = newest.signals("monitor", 10, alarm)
    assert {key.subject: (signal.fired, signal.effect) for key, signal in signals.items()} == {
        "x0": (False, 0.1),
        "champion": (True, 0.3),
    }
    assert not any(signal.fired for signal in newest.signals("monitor", 10).values()), "it fires once"


def test_a_look_replaces_the_partitions_last_and_a_generation_all_of_the_stage() -> None:
    newest = NewestEvidence()
    newest.take(evidence(ks("x0", 0.1)))
    newest.take(evidence(ks("x1", 0.1)))
    newest.take(evidence(ks("x2", 0.1), partition=1))
    newest.take(evidence(adwin("online", 0.1), stage="learner"))
    assert {key.subject for key in newest.signals("monitor", 10)} == {"x1", "x2"}
    newest.take(evidence(ks("x3", 0.1), generation=1))
    assert {key.subject for key in newest.signals("monitor", 10)} == {"x3"}
    assert (newest.partitions("monitor"), newest.partitions("learner")) == (1, 1)


def test_evidence_of_a_silent_partition_runs_out() -> None:
    newest = NewestEvidence()
    newest.take(evidence(ks("x0", 0.1), partition=1))
    for _ in range(5):
        newest.take(evidence())
    assert newest.signals("monitor", 5)
    newest.take(evidence())
    assert not newest.signals("monitor", 5)
    assert newest.partitions("monitor") == 2
