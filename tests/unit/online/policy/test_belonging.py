"""To which incident a signal belongs: what is news while an incident is open, and what is the same drift."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.events import Drift, Finding
from tests.unit.online.policy.feed import Feed, adwin, finding, ks, summary

#: Looks until the incident's window is over (1000 records of the default policy, 100 per look).
WINDOW = 11


def played(feed: Feed, looks: Iterable[list[Finding]]) -> list[Drift]:
    return [event for findings in looks for event in feed(*findings)]


def statuses(events: list[Drift]) -> list[str]:
    return [event.status for event in events]


def fired(rise: float, since: int, version: str = "champion") -> Finding:
    return finding("concept", rise, detector="adwin", version=version, fired=True, since_event_time_ms=since)


def test_features_that_join_one_by_one_do_not_keep_an_incident_young() -> None:
    feed = Feed()
    feed(ks("x0", 0.2), looks=6)
    assert feed(ks("x0", 0.2), ks("x1", 0.2), looks=6) == []
    (second,) = feed(ks("x0", 0.2), ks("x1", 0.2), ks("x2", 0.2, since_event_time_ms=12))
    assert (second.status, list(second.features)) == ("opened", ["x2"])


def test_a_feature_that_fell_and_rises_again_is_another_drift() -> None:
    feed = Feed()
    feed(ks("x0", 0.46), ks("x1", 0.3), looks=WINDOW)
    assert feed(ks("x0", 0.16), ks("x1", 0.3), looks=5) == []
    assert feed(ks("x0", 0.35, since_event_time_ms=16), ks("x1", 0.3)) == [], "by less than two floors"
    (again,) = feed(ks("x0", 0.51, since_event_time_ms=16), ks("x1", 0.3))
    assert (again.status, again.since_event_time_ms, list(again.features)) == ("opened", 16, ["x0"])
    (closed,) = feed(ks("x0", 0.51, since_event_time_ms=16), looks=20)
    assert (closed.status, list(closed.features)) == ("closed", ["x0", "x1"]), "x1 ends the first"


def test_the_only_signal_of_an_incident_takes_it_to_its_end() -> None:
    feed = Feed()
    feed(ks("x0", 0.46), looks=WINDOW)
    feed(ks("x0", 0.1), looks=3)
    events = feed(ks("x0", 0.5, since_event_time_ms=13))
    assert statuses(events) == ["closed", "opened"]
    assert events[0].id != events[1].id


def test_a_feature_that_rises_again_joins_an_incident_that_just_opened() -> None:
    feed = Feed()
    feed(ks("x0", 0.46), looks=WINDOW)
    feed(ks("x0", 0.1), looks=3)
    late = {"since_event_time_ms": 13}
    (second,) = feed(ks("x0", 0.1), ks("x1", 0.3, **late))
    (closed,) = feed(ks("x0", 0.5, **late), ks("x1", 0.3, **late))
    assert (closed.status, list(closed.features)) == ("closed", ["x0"])
    (end,) = feed(looks=3)
    assert (end.id, list(end.features)) == (second.id, ["x0", "x1"])


def test_a_rise_that_is_dated_within_the_window_is_the_same_drift() -> None:
    feed = Feed()
    feed(ks("x0", 0.46), looks=WINDOW)
    feed(ks("x0", 0.1), looks=3)
    assert feed(ks("x0", 0.5, since_event_time_ms=9), looks=30) == []


def test_an_effect_that_falls_while_the_window_fills_says_nothing() -> None:
    """The newest part of a window shows a change first, then the whole window, which holds little of it yet."""
    feed = Feed()
    feed(ks("x0", 0.8))
    filling = ([ks("x0", 0.1 * look)] for look in range(1, 10))
    saturated = ([ks("x0", 0.8, since_event_time_ms=look)] for look in range(10, 40))
    assert played(feed, [*filling, *saturated]) == []


def test_a_difference_from_a_renewed_reference_is_another_drift_without_a_fall() -> None:
    feed = Feed()
    feed(ks("x0", 0.4, reference_mean=1.0), looks=20)
    assert feed(ks("x0", 0.4, reference_mean=1.0, since_event_time_ms=18)) == [], "the date alone says nothing"
    events = feed(ks("x0", 0.4, reference_mean=2.0, since_event_time_ms=20))
    assert statuses(events) == ["closed", "opened"]
    assert feed(ks("x0", 0.4, reference_mean=2.0, since_event_time_ms=21), looks=30) == []


def test_partitions_have_references_of_their_own() -> None:
    feed = Feed()
    events: list[Drift] = []
    for look in range(40):
        for partition in range(3):
            late = ks("x0", 0.4, reference_mean=float(partition), since_event_time_ms=3 * look)
            events += feed(late, partition=partition)
    assert statuses(events) == ["opened"]


def test_a_renewed_reference_is_news_in_its_own_partition_only_if_significant_there() -> None:
    feed = Feed()
    for _ in range(30):
        for partition in (0, 1):
            feed(ks("x0", 0.4, reference_mean=1.0), partition=partition)
    assert feed(ks("x0", 0.3, 0.5, reference_mean=2.0, since_event_time_ms=55), partition=0) == []
    events = feed(ks("x0", 0.3, reference_mean=2.0, since_event_time_ms=55), partition=0)
    assert statuses(events) == ["closed", "opened"]


def test_references_start_afresh_with_a_generation() -> None:
    feed = Feed()
    feed(ks("x0", 0.4, reference_mean=1.0), looks=20)
    later = ks("x0", 0.4, reference_mean=2.0, since_event_time_ms=18)
    assert feed(later, generation=1, looks=30) == [], "what is still seen after a promotion goes on"


def test_an_incident_whose_references_were_all_renewed_closes() -> None:
    feed = Feed()
    step = [[ks("x0", 0.5), ks("x1", 0.3)]] * 20
    renewed = [[ks("x0", 0.02, 0.6), ks("x1", 0.03, 0.5)]] * 30
    assert summary(played(feed, step + renewed)) == [
        ("opened", "covariate", "warning"),
        ("closed", "covariate", "warning"),
    ]


@given(
    st.lists(st.floats(0.42, 0.8), min_size=20, max_size=20),
    st.lists(st.floats(0.0, 0.07), min_size=20, max_size=20),
    st.integers(0, 9),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_step_is_one_incident_whatever_the_noise(
    lasting: list[float], after: list[float], filling: int, early: bool
) -> None:
    """A window that fills, then holds nothing else and is dated as it slides, then is the reference."""
    feed = Feed()
    looks = [[ks("x0", 0.8)]] if early else []
    looks += [[ks("x0", 0.05 * look, since_event_time_ms=0)] for look in range(1, filling)]
    looks += [
        [ks("x0", effect, reference_mean=1.0, since_event_time_ms=max(0, look + filling - 9))]
        for look, effect in enumerate(lasting)
    ]
    looks += [[ks("x0", effect, 0.3, reference_mean=2.0)] for effect in after]
    events = played(feed, looks)
    assert [status for status in statuses(events) if status != "escalated"] == ["opened", "closed"]


def test_a_much_greater_rise_of_the_error_is_another_drift_however_young_the_first() -> None:
    feed = Feed()
    assert len(feed(fired(0.02, since=-5), stage="learner", looks=4)) == 1
    assert feed(fired(0.039, since=3), stage="learner") == [], "less than twice as much"
    events = feed(fired(0.29, since=4), stage="learner")
    assert summary(events) == [("closed", "concept", "warning"), ("opened", "concept", "critical")]
    assert events[1].since_event_time_ms == 4, "what follows starts at the newer point"


@pytest.mark.parametrize(("rise", "since"), [(0.29, 0), (0.29, None), (0.07, 3)])
def test_a_rise_that_is_no_greater_or_no_later_is_the_same_drift(rise: float, since: int | None) -> None:
    feed = Feed()
    feed(fired(0.04, since=-5), stage="learner")
    again = finding("concept", rise, detector="adwin", version="champion", fired=True, since_event_time_ms=since)
    assert "opened" not in statuses(feed(again, stage="learner"))


def test_rises_that_double_are_few() -> None:
    feed = Feed()
    events: list[Drift] = []
    for look in range(50):
        events += feed(fired(min(1.0, 0.02 + 0.02 * look), since=look - 1), stage="learner")
    assert statuses(events).count("opened") <= 10
    assert statuses(events).count("opened") - statuses(events).count("closed") == 1


def test_a_fall_of_the_metric_joins_the_incident_of_the_error() -> None:
    feed = Feed()
    (opened,) = feed(adwin("champion", 0.04), stage="learner")
    decay = finding("performance", 0.12, detector="accuracy", version="champion")
    held = adwin("champion", 0.04, fired=False)
    (escalated,) = feed(held, decay, stage="learner", looks=20)
    assert (escalated.status, escalated.id, escalated.performance_drop) == ("escalated", opened.id, 0.12)
    assert [cause.detector for cause in escalated.causes] == ["accuracy", "adwin"]
    (closed,) = feed(stage="learner", looks=3)
    assert (closed.id, closed.performance_drop) == (opened.id, 0.12)


def test_a_fall_seen_at_the_look_at_which_the_error_fires_joins_it() -> None:
    events = Feed()(finding("performance", 0.12, version="champion"), adwin("champion", 0.04), stage="learner")
    assert summary(events) == [("opened", "concept", "warning"), ("escalated", "concept", "critical")]


@pytest.mark.parametrize(("version", "looks"), [("online", 1), ("champion", 25)])
def test_a_fall_of_another_version_or_two_windows_later_is_an_incident(version: str, looks: int) -> None:
    feed = Feed()
    feed(adwin(version, 0.04), stage="learner")
    feed(adwin(version, 0.04, fired=False), stage="learner", looks=looks)
    (opened,) = feed(
        adwin(version, 0.04, fired=False), finding("performance", 0.03, version="champion"), stage="learner"
    )
    assert (opened.status, opened.kind) == ("opened", "performance")
