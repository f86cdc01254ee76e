"""The chain of decisions is whole or says where it is not; a fold takes only steps that can follow."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BrokenChainError
from penstock.events import DataRange, Decision, ModelRecord, Step
from retraining import states
from retraining.states import State, chained, decision_hash, fold, verify_chain

RANGE = DataRange(offsets={"0": (10, 20)}, rows=10)
MODEL = ModelRecord(slot="champion", version="v1", kind="batch", generation=1)


def draft(step: Step, **said: object) -> Decision:
    values = {"run_id": "r", "event_time_ms": 5, "record_id": "x", "trigger": "drift:d", "reason": "", "generation": 0}
    return Decision(seq=99, step=step, labelled=30, **(values | said))  # type: ignore[arg-type]


def chain(*drafts: Decision) -> tuple[list[Decision], State]:
    state, decisions = State(), []
    for item in drafts:
        decisions.append(chained(state, item))
        state = fold(state, decisions[-1])
    return decisions, state


PROMOTED = (
    draft("triggered", data=RANGE),
    draft("collected", data=RANGE),
    draft("trained", version="v1"),
    draft("registered", version="v1", model=MODEL),
    draft("shadow", version="v1", model=MODEL, rows=50),
    draft("promoted", version="v1", model=MODEL, generation=1),
    draft("settled", version="v1", model=MODEL, generation=1),
)


def test_a_whole_chain_is_verified() -> None:
    decisions, state = chain(*PROMOTED)
    assert verify_chain(decisions) == 7
    assert [decision.seq for decision in decisions] == list(range(7))
    assert (state.champion, state.run, state.runs, state.ended_at, state.promotion) == (MODEL, None, 1, 30, None)


def test_the_hash_covers_the_previous_one() -> None:
    decisions, _ = chain(*PROMOTED)
    assert decisions[1].previous_hash == decisions[0].hash
    other = msgspec.structs.replace(decisions[1], previous_hash="0" * 64)
    assert decision_hash(other) != decisions[1].hash


@given(st.integers(0, 6), st.sampled_from(["reason", "trigger", "labelled", "version", "record_id", "hash"]))
def test_any_change_breaks_the_chain_at_its_place(position: int, field: str) -> None:
    decisions, _ = chain(*PROMOTED)
    value = 31 if field == "labelled" else "tampered"
    decisions[position] = msgspec.structs.replace(decisions[position], **{field: value})
    with pytest.raises(BrokenChainError, match=f"decision {position}"):
        verify_chain(decisions)


@given(st.integers(0, 5))
def test_a_dropped_decision_breaks_the_chain(position: int) -> None:
    decisions, _ = chain(*PROMOTED)
    del decisions[position]
    with pytest.raises(BrokenChainError, match=f"decision {position + 1}: expected number {position}"):
        verify_chain(decisions)


@pytest.mark.parametrize("dropped", range(5))
def test_no_step_can_be_left_out(dropped: int) -> None:
    if dropped == 3:
        # The online model needs no registration.
        chain(*(item for item in PROMOTED if item.step != "registered"))
        return
    with pytest.raises(BrokenChainError):
        chain(*(item for index, item in enumerate(PROMOTED) if index != dropped))


def test_a_second_run_cannot_start_beside_the_first() -> None:
    with pytest.raises(BrokenChainError, match="while run r is going on"):
        chain(*PROMOTED[:1], draft("triggered", data=RANGE, run_id="s"))


def test_a_step_of_another_run_is_refused() -> None:
    with pytest.raises(BrokenChainError, match="run s, which is not going on"):
        chain(*PROMOTED[:1], draft("collected", data=RANGE, run_id="s"))


def test_a_rejection_ends_the_run_and_keeps_the_champion() -> None:
    _, state = chain(*PROMOTED[:3], draft("rejected"))
    assert state.run is None
    assert state.champion.version == "online"
    assert state.ended_at == 30


def test_a_restart_keeps_the_run_and_moves_its_start() -> None:
    later = DataRange(offsets={"0": (15, 20)}, rows=5)
    _, state = chain(draft("triggered", data=RANGE), draft("triggered", data=later, trigger="drift:e"))
    assert state.run is not None
    assert (state.run.number, state.run.start, state.run.base, state.run.restarts) == (1, {"0": 15}, 25, 1)
    assert state.seen == ("drift:d", "drift:e")


def test_what_is_remembered_of_triggers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "SEEN", 3)
    notes = [draft("not_started", trigger=f"drift:{name}", run_id="") for name in "abcdbd"]
    _, state = chain(*notes)
    assert state.seen == ("drift:b", "drift:c", "drift:d"), "one that comes again takes no place twice"
