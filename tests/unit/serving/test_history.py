from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.events import DataRange, Decision, GateResult, ModelRecord, Step
from penstock.topology import DAY_MS
from serving.history import History

GATES = [GateResult(name="improvement", value=0.2, threshold=0.01, passed=True)]


def decided(step: Any, seq: int, **about: Any) -> Decision:
    fields: dict[str, Any] = {"run_id": "run-1", "trigger": "drift:d1", "generation": 0, **about}
    return Decision(
        seq=seq, step=step, event_time_ms=seq * 1000, record_id=str(seq), reason=f"because {step}", **fields
    )


def told(*decisions: Decision) -> History:
    history = History()
    for decision in decisions:
        history.take(decision, decision.seq)
    return history


def story(*, approved: bool = True) -> list[Decision]:
    model = ModelRecord(slot="challenger", version="v1", kind="batch", generation=0, digest="abc", size_bytes=7)
    canary = ModelRecord(slot="canary", version="v1", kind="batch", generation=0, share=0.1)
    return [
        decided("triggered", 0, data=DataRange(offsets={"0": (5, 9)}, rows=4)),
        decided("collected", 1, data=DataRange(offsets={"0": (5, 19)}, rows=14)),
        decided("trained", 2, version="v1", gates=GATES, lineage={"git": "c0ffee"}),
        decided("registered", 3, version="v1", model=model),
        decided("awaiting_approval", 4, version="v1"),
        *([decided("approved", 5, version="v1", by="ann")] if approved else []),
        decided("shadow", 6, version="v1", model=model),
        decided("canary", 7, version="v1", model=canary),
        decided("promoted", 8, version="v1", generation=1),
        decided("settled", 9, version="v1", generation=1),
    ]


def test_a_version_carries_its_evidence() -> None:
    history = told(*story())
    view = history.versions["v1"]
    assert (view.status, view.generation, view.approver, view.trigger) == ("champion", 1, "ann", "drift:d1")
    assert (view.gates, view.data, view.digest, view.lineage) == (
        GATES,
        DataRange(offsets={"0": (5, 19)}, rows=14),
        "abc",
        {"git": "c0ffee"},
    )
    assert [step.step for step in view.steps] == [decision.step for decision in story()]
    assert [(span.part, span.from_ms, span.to_ms, span.share) for span in view.spans] == [
        ("made", 0, 4000, None),
        ("waiting", 4000, 6000, None),
        ("shadow", 6000, 7000, None),
        ("canary", 7000, 8000, 0.1),
        ("champion", 8000, None, None),
    ]
    online = history.versions["online"]
    assert (online.status, [(span.part, span.to_ms) for span in online.spans]) == (
        "shadow",
        [("champion", 8000), ("predecessor", 9000)],
    )
    assert (history.champion, history.generation, history.run_going_on()) == ("v1", 1, None)
    assert history.runs["run-1"].outcome == "promoted"


def test_a_version_that_waits_is_named() -> None:
    history = told(*story(approved=False)[:5])
    assert [view.version for view in history.waiting()] == ["v1"]
    going_on = history.run_going_on()
    assert going_on is not None
    assert (going_on.step, going_on.outcome) == ("awaiting_approval", None)


def test_an_attempt_without_a_version_is_told_under_its_run() -> None:
    history = told(decided("triggered", 0), decided("collected", 1), decided("rejected", 2, gates=GATES))
    view = history.versions["run-1"]
    assert (view.kind, view.status, view.gates, view.why_status) == ("none", "rejected", GATES, "because rejected")
    assert history.champion == "online"


def test_a_rollback_brings_the_former_champion_back() -> None:
    back = decided("rolled_back", 10, run_id="", trigger="command:c1", version="online", generation=2)
    history = told(*story(), back)
    assert (history.champion, history.generation) == ("online", 2)
    assert history.versions["v1"].status == "rolled_back"
    assert history.versions["v1"].steps[-1].step == "rolled_back"
    assert history.versions["online"].status == "champion"
    assert history.answer("command:c1") == back
    assert history.outcomes == {"promoted": 1, "rolled_back": 1}


@pytest.mark.parametrize(("version", "status"), [("online", "shadow"), ("v1", "archived"), ("v3", "registered")])
def test_an_experiment_leaves_a_version_as_it_was(version: str, status: str) -> None:
    history = told(
        *story(),
        decided("triggered", 10, run_id="run-3"),
        decided("trained", 11, run_id="run-3", version="v3"),
        decided("registered", 12, run_id="run-3", version="v3"),
        decided("promoted", 13, run_id="promote:c1", trigger="command:c1", version="v2", generation=2, by="bob"),
        decided("canary", 14, run_id="experiment:c2", trigger="command:c2", version=version, by="ann"),
    )
    assert history.versions[version].status == "canary"
    history.take(decided("cancelled", 15, run_id="experiment:c2", trigger="command:c3", version=version, by="ann"), 15)
    assert history.versions[version].status == status
    assert history.versions[version].steps[-1].step == "cancelled"
    assert history.outcomes == {"promoted": 1}
    assert history.versions["v2"].approver == "bob"


def test_a_canary_that_is_sent_back_leaves_who_serves_in_place() -> None:
    history = told(*story()[:8], decided("rolled_back", 8, version="online"))
    assert (history.champion, history.going_on) == ("online", None)
    assert (history.versions["v1"].status, history.versions["online"].status) == ("rolled_back", "champion")
    assert history.versions["v1"].spans[-1].to_ms == 8000


def test_the_next_champion_archives_the_one_before() -> None:
    more = [
        decided("triggered", 10, run_id="run-2"),
        decided("trained", 11, run_id="run-2", version="v2"),
        decided("promoted", 12, run_id="run-2", version="v2", generation=2, by="bob"),
    ]
    history = told(*story(), *more)
    assert (history.versions["v1"].status, history.versions["v2"].approver) == ("archived", "bob")
    assert history.versions["v1"].spans[-1].part == "predecessor"


def test_the_switch_is_who_said_so_last() -> None:
    history = told(decided("paused", 0, run_id="", by="ann", trigger="command:p"))
    assert (history.switch.paused, history.switch.by) == (True, "ann")
    history.take(decided("resumed", 1, run_id="", by="bob", trigger="command:q"), 1)
    assert (history.switch.paused, history.switch.by) == (False, "bob")
    assert history.runs == {}


def test_a_decision_answers_the_command_that_it_names() -> None:
    cancelled = decided("cancelled", 1, command="c9")
    history = told(decided("triggered", 0), cancelled)
    assert history.answer("command:c9") == cancelled
    assert history.answer("command:c8") is None


def test_a_command_that_is_being_looked_at_has_its_answer_later() -> None:
    model = ModelRecord(slot="champion", version="v1", kind="batch", generation=0)
    looked_at = decided("recorded", 0, run_id="asked-1", trigger="command:c1", command="c1", model=model)
    promoted = decided("promoted", 1, run_id="asked-1", trigger="command:c1", version="v1", generation=1)
    history = told(looked_at)
    assert history.answer("command:c1") == looked_at
    history.take(promoted, 1)
    assert history.answer("command:c1") == promoted
    assert (history.champion, history.decisions[0].step) == ("v1", "recorded")


def test_runs_of_the_last_day_are_counted_by_event_time() -> None:
    history = told(decided("triggered", 0), decided("rejected", 1), decided("triggered", 2, run_id="run-2"))
    assert history.started_within_day(2000) == 2
    assert history.started_within_day(DAY_MS + 1000) == 1


def test_audit_entries_take_no_room() -> None:
    history = told(*(decided("recorded", seq, run_id="", command=f"access-{seq}") for seq in range(5)))
    assert (len(history.decisions), history.runs, list(history.versions)) == (0, {}, ["online"])


@pytest.mark.parametrize("step", [*get_args(Step), "a step of the future"])
def test_no_step_is_ever_refused(step: str) -> None:
    for about in ({}, {"version": "v1"}, {"version": "v7"}, {"run_id": "", "version": "v1"}, {"run_id": "run-9"}):
        history = told(*story()[:7])
        history.take(decided(step, 7, **about), 7)
        assert history.champion in history.versions


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*get_args(Step), "future"]),
            st.sampled_from(["", "run-1", "run-2", "run-3"]),
            st.sampled_from(["", "v1", "v2", "online"]),
        ),
        max_size=40,
    )
)
def test_whatever_comes_spans_follow_each_other_and_one_version_serves(taken: list[tuple[str, str, str]]) -> None:
    history = told(*(decided(step, seq, run_id=run, version=v) for seq, (step, run, v) in enumerate(taken)))
    assert history.versions[history.champion].status == "champion"
    for view in history.versions.values():
        ends = [edge for span in view.spans for edge in (span.from_ms, span.to_ms)]
        assert all(edge is not None for edge in ends[1:-1])
        known = [edge for edge in ends if edge is not None]
        assert known == sorted(known)
        assert (view.status == "champion") == (view.version == history.champion)
