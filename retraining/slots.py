"""Who holds the slots of the ``models`` topic, and who is next."""

from __future__ import annotations

import msgspec

from penstock.events import ModelRecord
from penstock.models.slot import ONLINE
from retraining.states import ORIGIN, SCORED, State

#: The champion first: who serves takes over the challenger that it holds already.
ORDER = ("champion", "challenger", "canary")


def slots(state: State) -> dict[str, ModelRecord]:
    """What each slot of the ``models`` topic holds; a slot that is empty is left out."""
    held = {"champion": state.champion}
    run = state.run
    if run is not None and run.phase in SCORED and run.model is not None:
        held["challenger"] = run.model
    canary = run.canary if run is not None else None
    if canary is None and state.experiment is not None:
        canary = state.experiment.record
    if canary is not None:
        held["canary"] = canary
    return held


def announced(before: State, after: State) -> list[ModelRecord]:
    """The records of the slots that a decision changed, in order; a slot that it emptied is cleared."""
    old, new = slots(before), slots(after)
    records = []
    for slot in ORDER:
        if new.get(slot) != old.get(slot):
            empty = ModelRecord(slot=slot, version="", kind="batch", generation=after.champion.generation)
            records.append(new.get(slot, empty))
    return records


def known(state: State) -> dict[str, ModelRecord]:
    """Every version that could serve, the oldest first: the online model, what was registered, what has served."""
    return {record.version: record for record in (ORIGIN, *state.registered, *state.former, state.champion)}


def crowned(state: State, target: ModelRecord | None) -> ModelRecord:
    """The record that makes ``target`` (None: the online model) the champion of the next generation."""
    generation = state.champion.generation + 1
    if target is None or target.version == ONLINE:
        record = ModelRecord(slot="champion", version=ONLINE, kind="online", generation=generation)
    else:
        record = msgspec.structs.replace(target, slot="champion", generation=generation, share=0.0)
    return msgspec.structs.replace(record, predecessor=msgspec.structs.replace(state.champion, predecessor=None))


def canary_of(target: ModelRecord | None, generation: int, run_id: str, share: float) -> ModelRecord:
    """``target`` (None: the online model) answers ``share`` of the entities, drawn by ``run_id``."""
    if target is None or target.version == ONLINE:
        target = ModelRecord(slot="canary", version=ONLINE, kind="online", generation=generation)
    return msgspec.structs.replace(
        target, slot="canary", generation=generation, run_id=run_id, share=share, predecessor=None
    )
