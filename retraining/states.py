"""The state of retraining: a fold of the chain of decisions, and of nothing else.

A decision never changes after it was written. Each carries the hash of the one before, so a changed, dropped or
inserted decision breaks the chain at a known place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import msgspec

from penstock.errors import BrokenChainError
from penstock.events import DataRange, Decision, ModelRecord, encode

Phase: TypeAlias = Literal["collecting", "fitting", "judged", "registered", "shadow"]

#: Champions that a rollback can name.
FORMER = 20
#: Commands whose repetition is recognised: who repeats one does so because its writing was not confirmed.
ANSWERED = 1000

ORIGIN = ModelRecord(slot="champion", version="online", kind="online", generation=0)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has not ended. ``start`` holds the first offset of its data per partition.

    ``base`` is the stream's count of labelled rows at ``start``, ``shadow_rows`` its rows when the shadow began.
    """

    id: str
    number: int
    trigger: str
    phase: Phase
    start: dict[str, int]
    base: int
    restarts: int = 0
    version: str = ""
    model: ModelRecord | None = None
    shadow_rows: int = 0


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion whose predecessor is still scored in shadow. ``returned``: it was a rollback."""

    run_id: str
    trigger: str
    event_time_ms: int
    record: ModelRecord
    returned: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Everything that later decisions depend on.

    ``deferred`` is the newest trigger that came while a run was going on or cooling down; ``seen`` the triggers that
    were decided on; ``ended_at`` the labelled rows when the last run ended; ``former`` the newest champions that were
    replaced, the newest last, each version once; ``answered`` the newest commands that have their decision.
    """

    next_seq: int = 0
    last_hash: str = ""
    runs: int = 0
    run: Run | None = None
    champion: ModelRecord = ORIGIN
    former: tuple[ModelRecord, ...] = ()
    promotion: Promotion | None = None
    deferred: Decision | None = None
    ended_at: int | None = None
    labelled: int = 0
    rows: int = 0
    event_time_ms: int = 0
    record_id: str = ""
    seen: frozenset[str] = frozenset()
    answered: tuple[str, ...] = ()


def decision_hash(decision: Decision) -> str:
    """SHA-256 (hex) over the decision's JSON without its own hash; the previous hash is inside."""
    return hashlib.sha256(encode(msgspec.structs.replace(decision, hash=""))).hexdigest()


def chained(state: State, draft: Decision) -> Decision:
    """``draft`` as the next link of the chain: numbered and hashed."""
    linked = msgspec.structs.replace(draft, seq=state.next_seq, previous_hash=state.last_hash, hash="")
    return msgspec.structs.replace(linked, hash=decision_hash(linked))


def check_link(state: State, decision: Decision) -> None:
    """Raise ``BrokenChainError`` unless ``decision`` is the next link after ``state``."""
    if decision.seq != state.next_seq:
        raise BrokenChainError(f"decision {decision.seq}: expected number {state.next_seq}; decisions are missing")
    if decision.previous_hash != state.last_hash:
        raise BrokenChainError(f"decision {decision.seq}: the decision before it is not the one it was made after")
    if decision.hash != decision_hash(decision):
        raise BrokenChainError(f"decision {decision.seq}: its content is not what was written (hash differs)")


def verify_chain(decisions: Iterable[Decision]) -> int:
    """How many decisions were verified, from the first on.

    Raises:
        BrokenChainError: names the first decision that does not fit.
    """
    state = State()
    for decision in decisions:
        state = fold(state, decision)
    return state.next_seq


def fold(state: State, decision: Decision) -> State:
    """The state after ``decision``.

    Raises:
        BrokenChainError: it is not the next link, or a step that its run cannot take.
    """
    check_link(state, decision)
    state = replace(
        state,
        next_seq=decision.seq + 1,
        last_hash=decision.hash,
        labelled=max(state.labelled, decision.labelled),
        rows=max(state.rows, decision.rows),
        event_time_ms=max(state.event_time_ms, decision.event_time_ms),
        record_id=decision.record_id,
        answered=(*state.answered[1 - ANSWERED :], decision.command) if decision.command else state.answered,
    )
    if decision.step == "recorded" and decision.model is None:
        return state
    if decision.step == "triggered":
        return _triggered(state, decision)
    if decision.step == "not_started":
        # Data is named by triggers that shall still start a run once the present one is over.
        deferred = decision if decision.data is not None else state.deferred
        return replace(state, deferred=deferred, seen=state.seen | {decision.trigger})
    if decision.step == "settled":
        if state.promotion is None or decision.model is None:
            raise BrokenChainError(f"decision {decision.seq}: settled, but no promotion waits for it")
        return replace(state, promotion=None, champion=decision.model)
    if decision.step == "refused":
        return replace(state, seen=state.seen | {decision.trigger})
    if decision.step == "rolled_back":
        if decision.model is None or decision.model.generation != state.champion.generation + 1:
            raise BrokenChainError(f"decision {decision.seq}: rolled back to no model of the next generation")
        state = replace(state, ended_at=decision.labelled, seen=state.seen | {decision.trigger})
        return _enthroned(state, decision, decision.model)
    if state.run is None or state.run.id != decision.run_id:
        raise BrokenChainError(
            f"decision {decision.seq}: {decision.step} of run {decision.run_id}, which is not going on"
        )
    return _advanced(state, state.run, decision)


def _triggered(state: State, decision: Decision) -> State:
    if decision.data is None:
        raise BrokenChainError(f"decision {decision.seq}: triggered without saying where its data starts")
    going_on = state.run
    if going_on is not None and (going_on.id != decision.run_id or going_on.phase != "collecting"):
        raise BrokenChainError(f"decision {decision.seq}: triggered while run {going_on.id} is going on")
    run = Run(
        id=decision.run_id,
        number=going_on.number if going_on else state.runs + 1,
        trigger=decision.trigger,
        phase="collecting",
        start=starts(decision.data),
        base=decision.labelled - decision.data.rows,
        restarts=going_on.restarts + 1 if going_on else 0,
    )
    # A run that starts now has newer data than any trigger that waited.
    return replace(state, run=run, runs=run.number, deferred=None, seen=state.seen | {decision.trigger})


_AFTER: dict[str, tuple[Phase, ...]] = {
    "collected": ("collecting",),
    "trained": ("fitting",),
    "registered": ("judged",),
    "shadow": ("judged", "registered"),
    "promoted": ("shadow",),
    "rejected": ("judged",),
    "failed": ("collecting", "fitting"),
}


def _advanced(state: State, run: Run, decision: Decision) -> State:
    if run.phase not in _AFTER[decision.step]:
        raise BrokenChainError(f"decision {decision.seq}: {decision.step}, but run {run.id} is {run.phase}")
    if decision.step == "collected":
        return replace(state, run=replace(run, phase="fitting"))
    if decision.step == "trained":
        return replace(state, run=replace(run, phase="judged", version=decision.version))
    if decision.step == "registered":
        return replace(state, run=replace(run, phase="registered", model=decision.model))
    if decision.step == "shadow":
        shadow = replace(run, phase="shadow", version=decision.version, shadow_rows=decision.rows)
        return replace(state, run=shadow)
    state = replace(state, run=None, ended_at=decision.labelled)
    if decision.step == "promoted" and decision.model is not None:
        return _enthroned(state, decision, decision.model)
    return state


def _enthroned(state: State, decision: Decision, record: ModelRecord) -> State:
    replaced = msgspec.structs.replace(state.champion, predecessor=None)
    former = [*(held for held in state.former if held.version not in (replaced.version, record.version)), replaced]
    returned = decision.step == "rolled_back"
    promotion = Promotion(decision.run_id, decision.trigger, decision.event_time_ms, record, returned)
    return replace(state, champion=record, former=tuple(former[-FORMER:]), promotion=promotion)


def starts(data: DataRange) -> dict[str, int]:
    """The first offset of each partition."""
    return {partition: start for partition, (start, _) in data.offsets.items()}
