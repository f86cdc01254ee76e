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
from penstock.spec import DAY_MS

Phase: TypeAlias = Literal[
    "collecting", "fitting", "judged", "registered", "shadow", "canary", "awaiting_approval", "approved"
]

#: Champions that a rollback can name.
FORMER = 20
#: Runs of rollbacks that a person asked for: what is sent back so has not failed by itself.
ASKED_BACK = "rollback:"
#: Registered versions that a person can name.
REGISTERED = 1000
#: Of a run in one of these phases, the version is scored beside the champion.
SCORED: tuple[Phase, ...] = ("shadow", "canary", "awaiting_approval", "approved")
#: How a trigger begins that several warnings make together.
WARNINGS = "warnings:"
#: How triggers begin that hold for a while, and what was decided on them that is remembered.
LASTING = ("performance:", "performance-drop:", "drift-score:", "drifted-features:", "warning:", "volume:")
MOST_TOLD = 200
#: Triggers whose repetition is recognised. One comes again only soon: the log gives each record once, an incident is
#: told at most twice as a trigger would be, schedulers repeat the newest due time, and people a command that they miss.
SEEN = 10_000
#: Commands whose repetition is recognised: who repeats one does so because its writing was not confirmed.
ANSWERED = 1000

ORIGIN = ModelRecord(slot="champion", version="online", kind="online", generation=0)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has not ended. ``start`` holds the first offset of its data per partition.

    ``base`` is the stream's count of labelled rows at ``start``, ``began`` when the run started or was last sent back,
    ``shadow_rows`` its rows when the shadow began and ``canary_rows`` when the canary did, ``waiting_since_ms`` the
    event time from which on a person's word is awaited.
    ``model`` is None for the online model; ``canary`` is what the canary's slot holds.
    """

    id: str
    number: int
    trigger: str
    phase: Phase
    start: dict[str, int]
    base: int
    began: int
    restarts: int = 0
    version: str = ""
    model: ModelRecord | None = None
    shadow_rows: int = 0
    canary: ModelRecord | None = None
    canary_rows: int = 0
    waiting_since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Experiment:
    """Two versions answer a share of the entities each, until one proves better. ``record``: the canary's slot.

    ``labelled``: labelled rows when it began. ``generation``: of the champion that it is compared with.
    """

    id: str
    trigger: str
    record: ModelRecord
    labelled: int
    generation: int


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

    ``deferred`` is the newest trigger that came while a run was going on or cooling down; ``seen`` the newest triggers
    that were decided on, ``told`` the newest of those that last, with why they started no run (if they did: with
    nothing); ``started`` the event times of the runs of a day; ``started_at`` and ``ended_at`` the labelled rows when
    the last run started and ended; ``warned_ms`` the event time up to which warnings were counted; ``paused`` who
    switched retraining off; ``former`` the newest champions that were replaced, the newest last, each version once;
    ``failed`` those of them that were rolled back by themselves and not promoted since; ``renewed`` the generation of
    the newest champion that came by a promotion, not by going back to one before; ``answered`` the newest commands that
    have their decision; ``registered`` the newest versions that passed their gates; ``checking`` what a person asked
    for, while the version's artifact is being checked.
    """

    next_seq: int = 0
    last_hash: str = ""
    runs: int = 0
    run: Run | None = None
    champion: ModelRecord = ORIGIN
    renewed: int = 0
    former: tuple[ModelRecord, ...] = ()
    registered: tuple[ModelRecord, ...] = ()
    failed: frozenset[str] = frozenset()
    experiment: Experiment | None = None
    checking: Decision | None = None
    promotion: Promotion | None = None
    deferred: Decision | None = None
    ended_at: int | None = None
    labelled: int = 0
    rows: int = 0
    event_time_ms: int = 0
    record_id: str = ""
    seen: tuple[str, ...] = ()
    told: tuple[tuple[str, str], ...] = ()
    started: tuple[int, ...] = ()
    started_at: int = 0
    warned_ms: int | None = None
    paused: Decision | None = None
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
        warned_ms = decision.event_time_ms if decision.trigger.startswith(WARNINGS) else state.warned_ms
        return replace(
            state,
            deferred=deferred,
            seen=_seen(state, decision),
            told=_told(state, decision.trigger, decision.reason),
            warned_ms=warned_ms,
        )
    if decision.step == "settled":
        if state.promotion is None or decision.model is None:
            raise BrokenChainError(f"decision {decision.seq}: settled, but no promotion waits for it")
        return replace(state, promotion=None, champion=decision.model)
    if decision.step in ("refused", "recorded"):
        return _noted(state, decision)
    if decision.step in ("paused", "resumed"):
        paused = decision if decision.step == "paused" else None
        return replace(state, paused=paused, seen=_seen(state, decision))
    if decision.step == "rolled_back":
        state = replace(state, ended_at=decision.labelled, seen=_seen(state, decision))
        return _enthroned(state, decision)
    if state.experiment is not None and state.experiment.id == decision.run_id:
        return _tried(state, state.experiment, decision)
    if state.checking is not None and state.checking.run_id == decision.run_id:
        return _asked_for(state, decision)
    if state.run is None or state.run.id != decision.run_id:
        raise BrokenChainError(
            f"decision {decision.seq}: {decision.step} of run {decision.run_id}, which is not going on"
        )
    return _advanced(state, state.run, decision)


def _noted(state: State, decision: Decision) -> State:
    """A command that changes nothing (yet). One that names a model waits until its artifact was checked."""
    checking = None if state.checking and state.checking.trigger == decision.trigger else state.checking
    if decision.step == "recorded" and decision.model is not None:
        checking = decision
    return replace(state, checking=checking, seen=_seen(state, decision))


def _asked_for(state: State, decision: Decision) -> State:
    """What a person asked for happens: a version is promoted, or an experiment begins."""
    state = replace(state, checking=None)
    if decision.step == "promoted":
        return _enthroned(state, decision)
    if decision.step != "canary" or decision.model is None:
        raise BrokenChainError(f"decision {decision.seq}: {decision.step} is nothing that a person can ask for")
    experiment = Experiment(
        decision.run_id, decision.trigger, decision.model, decision.labelled, state.champion.generation
    )
    return replace(state, experiment=experiment)


def _tried(state: State, experiment: Experiment, decision: Decision) -> State:
    """The next step of an experiment: another share, or its end."""
    state = replace(state, seen=_seen(state, decision))
    if decision.step == "canary" and decision.model is not None:
        return replace(state, experiment=replace(experiment, record=decision.model))
    if decision.step not in ("promoted", "rejected", "cancelled"):
        raise BrokenChainError(f"decision {decision.seq}: {decision.step} of experiment {experiment.id}")
    state = replace(state, experiment=None)
    return _enthroned(state, decision) if decision.step == "promoted" else state


def _seen(state: State, decision: Decision) -> tuple[str, ...]:
    return state.seen if decision.trigger in state.seen else (*state.seen[1 - SEEN :], decision.trigger)


def _told(state: State, trigger: str, why: str) -> tuple[tuple[str, str], ...]:
    return (*state.told, (trigger, why))[-MOST_TOLD:] if trigger.startswith(LASTING) else state.told


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
        began=decision.labelled,
        restarts=going_on.restarts + 1 if going_on else 0,
    )
    now_ms = decision.event_time_ms
    seen, told = _seen(state, decision), _told(state, decision.trigger, "")
    if going_on is not None:
        return replace(state, run=run, deferred=None, seen=seen, told=told, warned_ms=now_ms)
    return replace(
        state,
        run=run,
        runs=run.number,
        # A run that starts now has newer data than any trigger that waited.
        deferred=None,
        seen=seen,
        told=told,
        started=(*(start_ms for start_ms in state.started if abs(now_ms - start_ms) < DAY_MS), now_ms),
        started_at=decision.labelled,
        warned_ms=now_ms,
    )


_AFTER: dict[str, tuple[Phase, ...]] = {
    "collected": ("collecting",),
    "trained": ("fitting",),
    "registered": ("judged",),
    "shadow": ("judged", "registered"),
    "canary": ("shadow",),
    "awaiting_approval": ("shadow", "canary"),
    "approved": ("awaiting_approval",),
    "promoted": ("shadow", "canary", "approved"),
    "rejected": ("judged", *SCORED),
    "failed": ("collecting", "fitting"),
    "cancelled": ("collecting", "fitting", "judged", "registered", *SCORED),
}


def _advanced(state: State, run: Run, decision: Decision) -> State:
    if run.phase not in _AFTER.get(decision.step, ()):
        raise BrokenChainError(f"decision {decision.seq}: {decision.step}, but run {run.id} is {run.phase}")
    if decision.step == "collected":
        return replace(state, run=replace(run, phase="fitting"))
    if decision.step == "trained":
        return replace(state, run=replace(run, phase="judged", version=decision.version))
    if decision.step == "registered":
        return _registered(replace(state, run=replace(run, phase="registered", model=decision.model)), decision)
    if decision.step == "shadow":
        challenger = replace(
            run, phase="shadow", version=decision.version, model=decision.model, shadow_rows=decision.rows
        )
        return replace(state, run=challenger)
    if decision.step == "canary":
        canary = replace(run, phase="canary", canary=decision.model, canary_rows=decision.rows)
        return replace(state, run=canary)
    state = replace(state, seen=_seen(state, decision))
    if decision.step == "awaiting_approval":
        waiting = replace(run, phase="awaiting_approval", waiting_since_ms=decision.event_time_ms)
        return replace(state, run=waiting)
    if decision.step == "approved":
        return replace(state, run=replace(run, phase="approved"))
    state = replace(state, run=None, ended_at=decision.labelled)
    return _enthroned(state, decision) if decision.step == "promoted" else state


def _registered(state: State, decision: Decision) -> State:
    if decision.model is None:
        raise BrokenChainError(f"decision {decision.seq}: registered without a model")
    return replace(state, registered=(*state.registered, decision.model)[-REGISTERED:])


def _enthroned(state: State, decision: Decision) -> State:
    record = decision.model
    if record is None or record.generation != state.champion.generation + 1:
        raise BrokenChainError(f"decision {decision.seq}: {decision.step} to no model of the next generation")
    replaced = msgspec.structs.replace(state.champion, predecessor=None)
    former = [*(held for held in state.former if held.version not in (replaced.version, record.version)), replaced]
    returned = decision.step == "rolled_back"
    failed = (state.failed & {held.version for held in former}) - {record.version}
    if returned and not decision.run_id.startswith(ASKED_BACK):
        failed |= {replaced.version}
    return replace(
        state,
        champion=record,
        renewed=state.renewed if returned else record.generation,
        former=tuple(former[-FORMER:]),
        failed=failed,
        checking=None if state.checking and state.checking.run_id == decision.run_id else state.checking,
        promotion=Promotion(decision.run_id, decision.trigger, decision.event_time_ms, record, returned),
    )


def starts(data: DataRange) -> dict[str, int]:
    """The first offset of each partition."""
    return {partition: start for partition, (start, _) in data.offsets.items()}
