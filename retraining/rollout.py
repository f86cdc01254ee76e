"""From a fit's outcome to what is served: rejected, or shadow, canary, promoted, settled."""

from __future__ import annotations

import msgspec

from penstock.events import Decision, OutcomeCommand
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.progress import Progress
from retraining.sequential import LEAST_ROWS, least_gain
from retraining.slots import canary_of, crowned
from retraining.states import SCORED, Run, State
from retraining.triggers import draft

#: Labelled rows over which a promoted model is compared with its predecessor.
COMPARISON_ROWS = 2000
#: Rows of the stream that a champion that goes on learning has to catch up with a candidate.
CATCH_UP_ROWS = 2000


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
    return [trained, *_shadowed(state, progress, outcome, version)]


def _shadowed(state: State, progress: Progress, outcome: OutcomeCommand, version: str) -> list[Decision]:
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


def on_ready(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """The next step of a version that was scored for long enough: ``canary``, ``awaiting_approval`` or ``promoted``.

    A canary waits for the end of an experiment: there is one slot for both.
    """
    run, rollout = state.run, pipeline.rollout
    if run is None:
        return None
    if run.phase == "approved":
        return _promoted(state, progress, run, "a person has approved it")
    if run.phase == "shadow" and (rows := progress.rows - run.shadow_rows) >= pipeline.retraining.effect_rows:
        if rollout.canary_share == 0.0:
            return _next(pipeline, state, progress, run, f"{rows} rows in shadow")
        if state.experiment is not None:
            return None
        canary = canary_of(run.model, state.champion.generation, run.id, rollout.canary_share)
        reason = f"{rows} rows in shadow; it answers {rollout.canary_share:.0%} of the entities"
        decision = draft(state, progress, "canary", run_id=run.id, trigger=run.trigger, reason=reason)
        return msgspec.structs.replace(decision, version=run.version, model=canary)
    if run.phase == "canary" and (rows := progress.rows - run.canary_rows) >= rollout.canary_rows:
        return _next(pipeline, state, progress, run, f"{rows} rows as canary")
    return None


def _next(pipeline: Pipeline, state: State, progress: Progress, run: Run, after: str) -> Decision | None:
    if state.champion.version == ONLINE and _may_be_overtaken(pipeline, state, progress, run):
        return None
    behind = _behind(state, progress, run)
    if behind is not None:
        return behind
    if not pipeline.rollout.approval:
        return _promoted(state, progress, run, after)
    reason = f"{after}; a person has to approve it: penstock models approve {run.version}"
    waits = draft(state, progress, "awaiting_approval", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(waits, version=run.version)


def _behind(state: State, progress: Progress, run: Run) -> Decision | None:
    """``rejected`` where the champion, too, has learned meanwhile: it loses no more on the rows that both scored.

    No proof is wanted here, as the gates had theirs: who is not even ahead on the newest rows is not worth a swap.
    Before a champion that goes on learning, the newer half of the rows has to say so as well.
    """
    champion = state.champion
    names = champion.version, run.version, champion.generation
    rivalry, newer = progress.rivalries.between(*names), progress.rivalries.newer_half(*names)
    if rivalry.rows < LEAST_ROWS:
        return None
    if rivalry.other >= rivalry.served:
        reason = f"no longer better than {champion.version}: {rivalry.turned().means()} since the gates"
    elif champion.version == ONLINE and newer.other >= newer.served:
        reason = f"overtaken by {champion.version}: {newer.turned().means()}, the newer half of those since the gates"
    else:
        return None
    rejected = draft(state, progress, "rejected", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(rejected, version=run.version)


def _may_be_overtaken(pipeline: Pipeline, state: State, progress: Progress, run: Run) -> bool:
    """Whether the champion, which goes on learning, is behind by so little that it may catch up, and has time to.

    After a change, a model that learns comes back over some thousand rows, while the candidate stays what it is: a
    small lead now says little about the rows to come. So the candidate serves when its lead is beyond chance, or when
    it is still ahead after `CATCH_UP_ROWS`. Where labels come too late to compare, the gates' word stands.
    """
    if progress.rows - run.shadow_rows >= CATCH_UP_ROWS:
        return False
    names = state.champion.version, run.version, state.champion.generation
    rivalry, newer = progress.rivalries.between(*names), progress.rivalries.newer_half(*names)
    if rivalry.rows < LEAST_ROWS or rivalry.other >= rivalry.served:
        return False
    return newer.other >= newer.served or least_gain(rivalry, 1.0 - pipeline.gates.confidence) <= 0.0


def _promoted(state: State, progress: Progress, run: Run, why: str) -> Decision:
    record = msgspec.structs.replace(crowned(state, run.model), run_id=run.id)
    reason = f"{why}; it replaces {state.champion.version}"
    promoted = draft(state, progress, "promoted", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(promoted, version=record.version, generation=record.generation, model=record)


def on_losing(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``rejected`` where a version in shadow or canary is surely worse than the champion on the same labelled rows."""
    run, champion = state.run, state.champion
    if run is None or run.phase not in SCORED:
        return None
    rivalry = progress.rivalries.between(champion.version, run.version, champion.generation).turned()
    lower = least_gain(rivalry, 1.0 - pipeline.gates.confidence)
    if lower <= 0.0:
        return None
    reason = f"worse than {champion.version}: {rivalry.means()}, lower bound of the difference {lower:.4g}"
    rejected = draft(state, progress, "rejected", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(rejected, version=run.version)


def on_overtaken(_: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``cancelled`` where a run's version came to serve another way: a person promoted it, or it came back."""
    run = state.run
    if run is None or run.phase not in SCORED or run.version != state.champion.version:
        return None
    reason = f"{run.version} serves already, by generation {state.champion.generation}"
    cancelled = draft(state, progress, "cancelled", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(cancelled, version=run.version)


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
