"""From a fit's outcome to what is served: rejected, or shadow, promoted, settled."""

from __future__ import annotations

import msgspec

from penstock.events import Decision, ModelRecord, OutcomeCommand
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.progress import Progress
from retraining.states import State
from retraining.triggers import draft

#: Labelled rows over which a promoted model is compared with its predecessor.
COMPARISON_ROWS = 2000


def on_outcome(state: State, progress: Progress, outcome: OutcomeCommand) -> list[Decision]:
    """Drafts after a fit: failed; trained and rejected; or trained, registered and shadow.

    Empty where the outcome is not the first of a fit that the state waits for.
    """
    run = state.run
    if run is None or run.id != outcome.run_id or run.phase != "fitting":
        return []
    if outcome.error:
        return [draft(state, progress, "failed", run_id=run.id, trigger=run.trigger, reason=outcome.error)]
    # Only what passed has a version; a refused candidate is named in the reason.
    version = outcome.model.version if outcome.model else ONLINE if outcome.winner == ONLINE else ""
    trained = msgspec.structs.replace(
        draft(
            state,
            progress,
            "trained",
            run_id=run.id,
            trigger=run.trigger,
            reason=f"best: {outcome.winner or 'none'}; fitted on {outcome.rows_train} rows, "
            f"compared on {outcome.rows_compared} later ones",
        ),
        version=version,
        candidates=outcome.candidates,
        gates=outcome.gates,
        lineage=outcome.lineage,
    )
    refused = [gate for gate in outcome.gates if gate.passed is False]
    if refused or not outcome.winner:
        why = "; ".join(gate.detail or gate.name for gate in refused) or "no candidate could be compared"
        rejected = draft(state, progress, "rejected", run_id=run.id, trigger=run.trigger, reason=why)
        return [trained, msgspec.structs.replace(rejected, gates=refused)]
    if not version:
        why = f"the outcome says that {outcome.winner} passed, but names no artifact"
        return [trained, draft(state, progress, "rejected", run_id=run.id, trigger=run.trigger, reason=why)]
    return [trained, *_announced(state, progress, outcome, version)]


def _announced(state: State, progress: Progress, outcome: OutcomeCommand, version: str) -> list[Decision]:
    run_id, trigger = outcome.run_id, state.run.trigger if state.run else ""
    if outcome.model is None:
        reason = "the online model passed every gate; it is scored in shadow anyway"
        shadow = draft(state, progress, "shadow", run_id=run_id, trigger=trigger, reason=reason)
        return [msgspec.structs.replace(shadow, version=version)]
    registered = draft(
        state, progress, "registered", run_id=run_id, trigger=trigger, reason=f"{outcome.winner} passed every gate"
    )
    challenger = msgspec.structs.replace(
        outcome.model, slot="challenger", generation=state.champion.generation, run_id=run_id
    )
    shadow = draft(state, progress, "shadow", run_id=run_id, trigger=trigger, reason="scored beside the champion")
    return [
        msgspec.structs.replace(registered, version=version, model=outcome.model),
        msgspec.structs.replace(shadow, version=version, model=challenger),
    ]


def on_shadowed(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``promoted`` once enough rows were scored in shadow."""
    run = state.run
    if run is None or run.phase != "shadow":
        return None
    rows = progress.rows - run.shadow_rows
    if rows < pipeline.retraining.effect_rows:
        return None
    generation = state.champion.generation + 1
    predecessor = msgspec.structs.replace(state.champion, predecessor=None)
    if run.model is None:
        record = ModelRecord(slot="champion", version=ONLINE, kind="online", generation=generation)
    else:
        record = msgspec.structs.replace(run.model, slot="champion", generation=generation)
    record = msgspec.structs.replace(record, predecessor=predecessor, run_id=run.id)
    reason = f"{rows} rows in shadow; it replaces {predecessor.version}"
    promoted = draft(state, progress, "promoted", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(promoted, version=record.version, generation=generation, model=record)


def on_settled(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``settled`` once the comparison window after a promotion is full: the predecessor leaves the shadow."""
    promotion = state.promotion
    if promotion is None:
        return None
    served = progress.since(promotion.event_time_ms, pipeline.partitions).rows
    if served < COMPARISON_ROWS + pipeline.drift.look_every:
        return None
    settled = draft(
        state,
        progress,
        "settled",
        run_id=promotion.run_id,
        trigger=promotion.trigger,
        reason=f"{served} labelled rows since the promotion; the predecessor is no longer scored",
    )
    record = msgspec.structs.replace(promotion.record, predecessor=None)
    return msgspec.structs.replace(settled, version=record.version, model=record)


def records_of(decision: Decision) -> list[ModelRecord]:
    """What a decision announces on the ``models`` topic, in order."""
    if decision.model is None or decision.step not in (
        "shadow",
        "promoted",
        "rolled_back",
        "settled",
        "cancelled",
    ):
        return []
    if decision.step != "promoted":
        return [decision.model]
    # The champion first: who serves takes over the challenger that it holds already.
    cleared = ModelRecord(slot="challenger", version="", kind="batch", generation=decision.generation)
    return [decision.model, cleared]
