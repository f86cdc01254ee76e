"""What holds for every stream of evidence."""

from __future__ import annotations

from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from online.policy.fold import IncidentPolicy
from penstock.events import Drift, DriftKind, Finding
from tests.unit.online.policy.feed import PIPELINE, Feed, finding, ks

KINDS = get_args(DriftKind)
EFFECTS = st.sampled_from([0.0, 0.01, 0.05, 0.09, 0.1, 0.3, 0.8, 1.0])
P_VALUES = st.sampled_from([0.0, 1e-9, 1e-5, 1e-3, 0.5, 1.0])


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    kind = draw(st.sampled_from(KINDS))
    subject = draw(st.sampled_from(["x0", "x1", "x2"]))
    where = {"version": draw(st.sampled_from(["champion", "online"]))} if kind == "concept" else {"feature": subject}
    return finding(
        kind,
        draw(EFFECTS),
        draw(P_VALUES),
        detector=draw(st.sampled_from(["a", "b"])),
        n_current=draw(st.sampled_from([0, 10, 1000])),
        fired=draw(st.booleans()),
        since_event_time_ms=draw(st.none() | st.integers(0, 60)),
        measures=draw(st.sampled_from([{}, {"psi": 0.2}])),
        **where,
    )


LOOKS = st.tuples(
    st.sampled_from(["monitor", "learner"]),
    st.integers(0, 2),
    st.sampled_from([0, 0, 0, 0, 0, 1]),
    st.lists(findings(), max_size=6),
)
SCRIPTS = st.lists(LOOKS, min_size=1, max_size=40)


def played(feed: Feed, script: list[tuple[str, int, int, list[Finding]]]) -> list[Drift]:
    generation = {"monitor": 0, "learner": 0}
    events: list[Drift] = []
    for stage, partition, rise, found in script:
        generation[stage] += rise
        events += feed(*found, stage=stage, partition=partition, generation=generation[stage])
    for stage, number in generation.items():
        for partition in (0, 1, 2):
            events += feed(stage=stage, partition=partition, generation=number)
        events += feed(stage=stage, generation=number, looks=40)
    return events


@given(SCRIPTS)
@settings(max_examples=40, deadline=None)
def test_an_incident_opens_once_rises_at_most_once_and_always_closes(
    script: list[tuple[str, int, int, list[Finding]]],
) -> None:
    stories: dict[str, list[Drift]] = {}
    for event in played(Feed(), script):
        stories.setdefault(f"{event.id}", []).append(event)
        assert event.health is not None
        assert 0.0 <= event.health <= 1.0
        assert 0.0 <= event.drift_score <= 1.0
        assert 0.0 <= event.effect <= 1.0
        assert event.reference
        assert len(event.causes) <= 10
        assert [cause.effect for cause in event.causes] == sorted((c.effect for c in event.causes), reverse=True)
    for story in stories.values():
        assert [event.status for event in story] in (["opened", "closed"], ["opened", "escalated", "closed"])
        assert sorted((event.level for event in story), reverse=True) == [event.level for event in story]
        assert len({event.kind for event in story}) == 1


@given(SCRIPTS, st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_a_restored_policy_goes_on_as_if_nothing_had_happened(
    script: list[tuple[str, int, int, list[Finding]]], cut: int
) -> None:
    straight, hopping = Feed(), Feed()
    generation = {"monitor": 0, "learner": 0}
    for i, (stage, partition, rise, found) in enumerate(script):
        generation[stage] += rise
        if i == cut:
            fresh = IncidentPolicy(PIPELINE)
            fresh.restore(hopping.policy.state())
            hopping.policy = fresh
        where = {"stage": stage, "partition": partition, "generation": generation[stage]}
        assert straight(*found, **where) == hopping(*found, **where)
    assert straight.policy.state() == hopping.policy.state()


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(20, 30)), min_size=1, max_size=12),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_one_drift_is_one_incident_whichever_partition_sees_it_first(
    spans: list[tuple[int, int]], features: int, order: object
) -> None:
    """Each partition sees the drift from its own look on, at most a window after it began, to its own end."""
    feed = Feed()
    events: list[Drift] = []
    for look in range(40):
        partitions = list(range(len(spans)))
        order.shuffle(partitions)  # type: ignore[attr-defined]
        for partition in partitions:
            begin, end = spans[partition]
            found = [ks(f"x{i}", 0.9) for i in range(features)] if begin <= look < end else [ks("x0", 0.02, 0.5)]
            events += feed(*found, partition=partition)
    assert [event.status for event in events if event.status != "escalated"] == ["opened", "closed"]
