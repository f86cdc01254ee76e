"""The alarm policy: significance and effect, one drift one incident, levels, ends, any number of partitions."""

from __future__ import annotations

from typing import Any

import pytest

from online.policy.advice import ADVICE
from online.policy.fold import IncidentPolicy
from penstock.events import Drift, Evidence, Finding
from penstock.spec import DriftPolicy, Numeric, Pipeline

PIPELINE = Pipeline(
    name="loans",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=tuple(Numeric(f"x{i}") for i in range(10)),
    drift=DriftPolicy(quiet_looks=3),
)


def ks(feature: str, effect: float, p_value: float = 1e-9, **more: Any) -> Finding:
    fields = {"n_reference": 1000, "n_current": 1000, "since_event_time_ms": 7, **more}
    return Finding(
        detector="ks", kind="covariate", feature=feature, statistic=effect, effect=effect, p_value=p_value, **fields
    )


def adwin(version: str, rise: float, fired: bool = True, p_value: float = 1e-9) -> Finding:
    return Finding(
        detector="adwin",
        kind="concept",
        version=version,
        statistic=rise,
        effect=rise,
        p_value=p_value,
        n_reference=1000,
        n_current=100,
        fired=fired,
    )


class Feed:
    """Feeds evidence to a policy, look by look."""

    def __init__(self, policy: IncidentPolicy | None = None) -> None:
        self.policy = policy or IncidentPolicy(PIPELINE)
        self.offset = 0
        self.seen: dict[tuple[str, int], int] = {}

    def __call__(
        self, *findings: Finding, stage: Any = "monitor", partition: int = 0, generation: int = 0, looks: int = 1
    ) -> list[Drift]:
        events: list[Drift] = []
        for _ in range(looks):
            self.seen[stage, partition] = self.seen.get((stage, partition), 0) + 100
            evidence = Evidence(
                stage=stage,
                partition=partition,
                seen=self.seen[stage, partition],
                record_id=f"r{self.offset}",
                event_time_ms=self.offset,
                generation=generation,
                findings=list(findings),
            )
            events += self.policy.update(evidence, self.offset)
            self.offset += 1
        return events


def summary(events: list[Drift]) -> list[tuple[str, str, str]]:
    return [(event.status, event.kind, event.level) for event in events]


def test_an_alarm_needs_significance_and_an_effect() -> None:
    feed = Feed()
    assert feed(ks("x0", 0.09)) == []
    assert feed(ks("x0", 0.5, p_value=1e-3)) == []
    (opened,) = feed(ks("x0", 0.2))
    assert (opened.status, opened.level, opened.feature, opened.effect) == ("opened", "warning", "x0", 0.2)
    assert (opened.id, opened.record_id, opened.since_event_time_ms) == ("loans-covariate-2", "r2", 7)
    assert opened.drift_score == 0.2
    assert opened.advice == ADVICE["covariate"]


def test_one_drift_is_one_incident_with_a_start_and_an_end() -> None:
    feed = Feed()
    events = feed(ks("x0", 0.2), looks=5) + feed(ks("x0", 0.05, p_value=0.5), looks=5)
    assert summary(events) == [("opened", "covariate", "warning"), ("closed", "covariate", "warning")]
    assert events[0].id == events[1].id
    assert events[1].record_id == "r7", "after three quiet looks"
    assert events[1].advice == ""


def test_a_short_pause_does_not_close_it() -> None:
    feed = Feed()
    events = feed(ks("x0", 0.2)) + feed(looks=2) + feed(ks("x0", 0.2)) + feed(looks=2)
    assert [event.status for event in events] == ["opened"]


def test_features_that_move_together_are_one_incident_by_effect() -> None:
    feed = Feed()
    (opened,) = feed(ks("x0", 0.2), ks("x1", 0.4))
    assert (opened.feature, list(opened.features.items())) == ("x1", [("x1", 0.4), ("x0", 0.2)])
    assert feed(ks("x0", 0.2), ks("x1", 0.4), ks("x2", 0.3)) == []
    closed = feed(looks=3)[-1]
    assert list(closed.features) == ["x1", "x2", "x0"]


def test_what_moves_a_window_later_is_another_incident() -> None:
    feed = Feed()
    feed(ks("x0", 0.2), looks=12)
    (second,) = feed(ks("x0", 0.2), ks("x1", 0.2, since_event_time_ms=12))
    assert (second.status, list(second.features)) == ("opened", ["x1"])


def test_a_signal_that_was_quiet_and_moves_again_is_another_drift() -> None:
    feed = Feed()
    feed(ks("x0", 0.2), ks("x1", 0.2), looks=12)
    assert feed(ks("x0", 0.2), looks=4) == [], "x1 left the incident, x0 holds it open"
    (again,) = feed(ks("x0", 0.2), ks("x1", 0.3, since_event_time_ms=16))
    assert (again.status, list(again.features)) == ("opened", ["x1"])


def test_more_than_a_third_of_the_features_is_critical() -> None:
    feed = Feed()
    assert summary(feed(*(ks(f"x{i}", 0.2) for i in range(3)))) == [("opened", "covariate", "warning")]
    assert summary(feed(*(ks(f"x{i}", 0.2) for i in range(4)))) == [("escalated", "covariate", "critical")]
    assert feed(*(ks(f"x{i}", 0.2) for i in range(4))) == []


def test_a_great_effect_is_critical() -> None:
    assert summary(Feed()(ks("x0", 0.71))) == [("opened", "covariate", "critical")]


def test_a_fired_error_detector_opens_and_its_rise_sets_the_level() -> None:
    for version, rise, level, drop in (
        ("champion", 0.06, "critical", 0.06),
        ("champion", 0.04, "warning", 0.04),
        ("online", 0.2, "warning", None),
    ):
        (opened,) = Feed()(adwin(version, rise), stage="learner")
        assert (opened.level, opened.performance_drop, opened.kind) == (level, drop, "concept")


def test_a_small_or_unfired_rise_opens_nothing() -> None:
    feed = Feed()
    assert feed(adwin("champion", 0.02 / 2), stage="learner") == []
    assert feed(adwin("champion", 0.5, fired=False), stage="learner") == []


def test_served_and_online_errors_are_one_incident_that_escalates() -> None:
    feed = Feed()
    events = feed(adwin("online", 0.2), stage="learner") + feed(adwin("champion", 0.2), stage="learner")
    assert summary(events) == [("opened", "concept", "warning"), ("escalated", "concept", "critical")]
    assert events[0].id == events[1].id


def test_a_raised_error_holds_the_incident_open_and_recovery_closes_it() -> None:
    feed = Feed()
    feed(adwin("champion", 0.2), stage="learner")
    assert feed(adwin("champion", 0.2, fired=False), stage="learner", looks=20) == []
    events = feed(adwin("champion", 0.0, fired=False, p_value=1.0), stage="learner", looks=3)
    assert summary(events) == [("closed", "concept", "critical")]


def test_firing_again_within_a_window_is_the_same_drift_and_later_a_new_one() -> None:
    feed = Feed()
    held = adwin("champion", 0.2, fired=False)
    assert len(feed(adwin("champion", 0.2), stage="learner")) == 1
    assert feed(adwin("champion", 0.3), stage="learner") == []
    assert feed(held, stage="learner", looks=10) == []
    events = feed(adwin("champion", 0.3), stage="learner")
    assert summary(events) == [("closed", "concept", "critical"), ("opened", "concept", "critical")]


def test_a_higher_generation_closes_its_own_stages_incidents_only() -> None:
    feed = Feed()
    feed(ks("x0", 0.2))
    feed(adwin("champion", 0.2), stage="learner")
    assert summary(feed(generation=1)) == [("closed", "covariate", "warning")]
    assert summary(feed(generation=1, stage="learner")) == [("closed", "concept", "critical")]


def test_evidence_about_an_older_generation_is_ignored() -> None:
    feed = Feed()
    feed(generation=2)
    assert feed(ks("x0", 0.9), generation=1, partition=1) == []
    assert len(feed(ks("x0", 0.9), generation=2, partition=1)) == 1


def test_partitions_are_merged_by_the_size_of_their_windows() -> None:
    feed = Feed()
    feed(ks("x0", 0.0, p_value=0.5), partition=1)
    assert feed(ks("x0", 0.15), partition=0) == [], "0.075 over both"
    (opened,) = feed(ks("x0", 0.1, p_value=1e-4), partition=1)
    assert (opened.effect, opened.p_value) == (pytest.approx(0.125), 2e-9)


def test_patience_counts_the_looks_of_all_partitions() -> None:
    feed = Feed()
    feed(partition=1)
    feed(ks("x0", 0.4), partition=0)
    statuses = [event.status for _ in range(3) for p in (0, 1) for event in feed(partition=p)]
    assert statuses == ["closed"]
    assert feed.offset == 8


def test_kinds_are_incidents_of_their_own() -> None:
    schema = Finding(
        detector="missing",
        kind="schema",
        feature="x0",
        statistic=0.5,
        effect=0.5,
        p_value=0.0,
        n_reference=1000,
        n_current=1000,
    )
    events = Feed()(ks("x0", 0.2), schema)
    assert {event.kind for event in events} == {"covariate", "schema"}
    assert len({event.id for event in events}) == 2
    assert all(event.drift_score == 0.2 for event in events), "the score is about distributions"


def test_state_and_restore_at_every_record() -> None:
    script: list[tuple[list[Finding], dict[str, Any]]] = [
        ([ks("x0", 0.2)], {}),
        ([ks("x0", 0.2), *(ks(f"x{i}", 0.3) for i in range(1, 6))], {"partition": 1}),
        ([adwin("champion", 0.2)], {"stage": "learner"}),
        *[([], {"partition": p}) for p in (0, 1)] * 5,
        ([], {"stage": "learner", "generation": 1}),
    ]
    straight, hopping = Feed(), Feed()
    for findings, where in script:
        fresh = IncidentPolicy(PIPELINE)
        fresh.restore(hopping.policy.state())
        hopping.policy = fresh
        assert hopping(*findings, **where) == straight(*findings, **where)
    assert straight.offset == len(script)
