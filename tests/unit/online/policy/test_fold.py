"""The alarm policy: significance and effect, one drift one incident, levels, ends, any number of partitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import msgspec
import pytest

from online.policy.advice import ADVICE, STARTED_AFRESH
from online.policy.fold import IncidentPolicy
from penstock.events import DriftKind, Finding, Histogram
from penstock.spec import DriftPolicy
from tests.unit.online.policy.feed import PIPELINE, Feed, adwin, finding, ks, summary


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
        ("reference model", 0.06, "critical", None),
        ("reference model", 0.04, "warning", None),
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


@pytest.mark.parametrize("kind", [kind for kind in get_args(DriftKind) if kind != "concept"])
def test_every_kind_opens_by_significance_and_effect_and_closes(kind: DriftKind) -> None:
    feed = Feed()
    assert feed(finding(kind, 0.3, p_value=1.0)) == []
    assert feed(finding(kind, 0.3, p_value=1e-3)) == []
    assert feed(finding(kind, 0.0)) == []
    (opened,) = feed(finding(kind, 0.3), looks=20)
    assert (opened.kind, opened.effect, opened.advice) == (kind, 0.3, ADVICE[kind])
    (closed,) = feed(finding(kind, 0.0, p_value=1.0), looks=20)
    assert (closed.status, closed.id) == ("closed", opened.id)


def test_a_psi_above_its_floor_opens_where_the_statistic_is_below() -> None:
    assert Feed()(ks("x0", 0.08, measures={"psi": 0.09})) == []
    (opened,) = Feed()(ks("x0", 0.08, measures={"psi": 0.11}))
    assert (opened.level, opened.causes[0].measures) == ("warning", {"psi": 0.11})
    assert Feed()(ks("x0", 0.08, p_value=0.01, measures={"psi": 0.5})) == [], "not significant"


def test_only_a_critical_psi_counts_for_the_share_of_features() -> None:
    for psi, level in ((0.2, "warning"), (0.3, "critical")):
        events = Feed()(*(ks(f"x{i}", 0.08, measures={"psi": psi}) for i in range(4)))
        assert summary(events) == [("opened", "covariate", level)]


def test_an_opened_incident_outlasts_a_weaker_look_than_opened_it() -> None:
    feed = Feed()
    assert len(feed(ks("x0", 0.11))) == 1
    assert feed(ks("x0", 0.08, p_value=1e-4), looks=20) == []
    assert summary(feed(ks("x0", 0.07, p_value=1e-4), looks=3)) == [("closed", "covariate", "warning")]


def test_detectors_that_fire_for_the_same_version_are_one_incident_that_names_them() -> None:
    feed = Feed()
    fired = [adwin("champion", 0.04), finding("concept", 0.03, detector="hddm_w", version="champion", fired=True)]
    opened, *others = feed(*fired, stage="learner")
    assert others == []
    assert [(cause.detector, cause.version) for cause in opened.causes] == [
        ("adwin", "champion"),
        ("hddm_w", "champion"),
    ]


def test_a_detector_that_may_not_decide_confirms_but_never_opens() -> None:
    feed = Feed()
    seen = finding("concept", 0.2, detector="ddm", version="champion")
    assert feed(seen, stage="learner", looks=5) == []
    feed(adwin("champion", 0.04), stage="learner")
    still = adwin("champion", 0.04, fired=False)
    assert summary(feed(still, seen, stage="learner")) == [("escalated", "concept", "critical")]
    (closed,) = feed(stage="learner", looks=3)
    assert [cause.detector for cause in closed.causes] == ["ddm", "adwin"]


def test_a_late_alarm_that_dates_its_change_back_belongs_to_the_first_incident() -> None:
    feed = Feed()
    feed(adwin("champion", 0.2), stage="learner")
    feed(adwin("champion", 0.2, fired=False), stage="learner", looks=20)
    late = finding("concept", 0.2, detector="ddm", version="champion", fired=True, since_event_time_ms=5)
    assert feed(late, stage="learner") == []
    new = finding("concept", 0.2, detector="ddm", version="champion", fired=True, since_event_time_ms=30)
    feed(adwin("champion", 0.2, fired=False), stage="learner", looks=20)
    assert [event.status for event in feed(new, stage="learner")] == ["closed", "opened"]


def test_an_alarm_between_two_looks_is_no_quiet_look_of_the_others() -> None:
    feed = Feed()
    feed(finding("performance", 0.04, version="champion"), stage="learner")
    for _ in range(10):
        feed(adwin("champion", 0.04), stage="learner")
    assert {held.kind for held in feed.policy._open} == {"performance", "concept"}


def test_another_detector_of_the_same_feature_joins_its_incident_at_any_time() -> None:
    feed = Feed()
    feed(ks("x0", 0.2), looks=30)
    other = ks("x0", 0.3, detector="other", since_event_time_ms=29)
    assert feed(ks("x0", 0.2), other) == []


def test_a_window_is_counted_per_partition() -> None:
    feed = Feed()
    for partition in range(4):
        feed(partition=partition)
    feed(ks("x0", 0.4))
    later = ks("x1", 0.4, since_event_time_ms=10_000)
    feed(looks=5, partition=1)
    feed(ks("x0", 0.4), looks=6)
    assert feed(ks("x0", 0.4), later, partition=2) == [], "within 4 × 1000 records"


def test_a_silent_partition_does_not_keep_an_incident_open() -> None:
    feed = Feed()
    feed(ks("x0", 0.4), partition=1)
    events = feed(partition=0, looks=50)
    assert [event.status for event in events] == ["closed"]


def test_a_slow_partition_keeps_its_incident_open_between_its_looks() -> None:
    feed = Feed()
    feed(partition=1)
    feed(partition=0, looks=40)
    events = []
    for _ in range(6):
        events += feed(ks("x0", 0.8), partition=1)
        events += feed(partition=0, looks=40)
    assert [event.status for event in events] == ["opened"]


def test_what_is_still_seen_after_a_promotion_goes_on() -> None:
    feed = Feed()
    online = finding("concept", 0.2, version="online", detector="adwin")
    feed(adwin("online", 0.2), adwin("champion", 0.03), stage="learner")
    assert feed(online, stage="learner", generation=1) == []
    (escalated,) = feed(adwin("champion", 0.2), online, stage="learner", generation=1)
    assert (escalated.status, escalated.generation) == ("escalated", 1)


def test_causes_are_the_ten_greatest_with_what_they_were_before_and_after() -> None:
    feed = Feed()
    histogram = Histogram(reference=[1, 2], current=[2, 1], edges=[0.0, 1.0, 2.0])
    findings = [
        ks(f"x{i}", 0.2 + 0.01 * i, reference_mean=1.0, current_mean=2.0, histogram=histogram) for i in range(10)
    ]
    findings.append(ks("c", 0.15))
    (opened,) = feed(*findings)
    assert [cause.feature for cause in opened.causes] == [f"x{i}" for i in range(9, -1, -1)]
    assert (opened.causes[0].reference_mean, opened.causes[0].current_mean) == (1.0, 2.0)
    assert opened.causes[0].histogram == histogram
    assert len(opened.features) == 11
    closed = feed(looks=3)[-1]
    assert [cause.feature for cause in closed.causes] == [cause.feature for cause in opened.causes]
    assert all(cause.histogram is None for cause in closed.causes)


def test_an_incident_that_cannot_date_its_change_takes_the_date_of_one_that_can() -> None:
    feed = Feed()
    fired = finding("concept", 0.2, version="champion", fired=True, since_event_time_ms=-5)
    (concept,) = feed(fired, stage="learner")
    (fairness,) = feed(finding("fairness", 0.2), stage="learner")
    assert (concept.since_event_time_ms, fairness.since_event_time_ms) == (-5, -5)
    late = Feed()
    late(fired, stage="learner")
    late(msgspec.structs.replace(fired, fired=False), stage="learner", looks=20)
    (alone,) = late(finding("fairness", 0.2), stage="learner")
    assert alone.since_event_time_ms is None, "a window later it may be another change"


def test_health_and_drift_score_are_the_pipelines_and_in_every_event() -> None:
    feed = Feed()
    feed(adwin("champion", 0.05), stage="learner")
    (opened,) = feed(ks("x0", 0.2), finding("population", 0.5))[1:]
    assert opened.drift_score == 0.5
    assert opened.health == pytest.approx(1 - 0.4 * 0.5 - 0.4 * 0.5)


def test_thresholds_change_without_the_state() -> None:
    feed = Feed()
    feed(ks("x0", 0.2), looks=3)
    stricter = IncidentPolicy(replace(PIPELINE, drift=DriftPolicy(effect_floor=0.4)))
    stricter.restore(feed.policy.state())
    feed.policy = stricter
    assert summary(feed(ks("x0", 0.2), looks=10)) == [("closed", "covariate", "warning")]


def test_a_higher_generation_closes_its_own_stages_incidents_only() -> None:
    feed = Feed()
    feed(ks("x0", 0.2))
    feed(adwin("champion", 0.2), stage="learner")
    (closed,) = feed(generation=1)
    assert summary([closed]) == [("closed", "covariate", "warning")]
    assert closed.advice == STARTED_AFRESH
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


def test_a_population_that_is_looked_at_every_half_window_is_one_incident() -> None:
    feed = Feed()
    events = []
    for _ in range(5):
        events += feed(finding("population", 0.3)) + feed(looks=4)
    assert [event.status for event in events] == ["opened"]
    assert [event.status for event in feed(looks=10)] == ["closed"]


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
