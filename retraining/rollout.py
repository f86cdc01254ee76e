"""From a fit's outcome to what is served: rejected, or shadow, canary, promoted, settled."""

from __future__ import annotations

from typing import NamedTuple

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
#: Rows of the stream within which a candidate must prove its lead over a champion that goes on learning.
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
    behind = _behind(pipeline, state, progress, run)
    if behind is not None:
        rejected = draft(state, progress, "rejected", run_id=run.id, trigger=run.trigger, reason=behind.why)
        return msgspec.structs.replace(rejected, version=run.version) if behind.surely else None
    if not pipeline.rollout.approval:
        return _promoted(state, progress, run, after)
    reason = f"{after}; a person has to approve it: penstock models approve {run.version}"
    waits = draft(state, progress, "awaiting_approval", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(waits, version=run.version)


class _Behind(NamedTuple):
    """Why a candidate that was scored for its time does not serve; ``surely`` False: it does not serve yet."""

    why: str
    surely: bool


def _behind(pipeline: Pipeline, state: State, progress: Progress, run: Run) -> _Behind | None:
    """What speaks against a candidate on the labelled rows that it and the champion scored since the gates.

    Before a champion that stays what it is, it has to be ahead; the gates had their proof. One that goes on learning
    comes back from a change over some thousand rows, while the candidate stays what it is: there the lead has to be
    beyond chance, and to be seen in the newer half of the rows as well, within `CATCH_UP_ROWS` of the stream. Where
    labels come too late to compare, the gates' word stands.
    """
    champion = state.champion
    names = champion.version, run.version, champion.generation
    rivalry, newer = progress.rivalries.between(*names), progress.rivalries.newer_half(*names)
    if rivalry.rows < LEAST_ROWS:
        return None
    figures = rivalry.turned().means()
    if rivalry.other >= rivalry.served:
        return _Behind(f"no longer better than {champion.version}: {figures} since the gates", surely=True)
    if champion.version != ONLINE:
        return None
    late = progress.rows - run.shadow_rows >= CATCH_UP_ROWS
    if newer.other >= newer.served:
        figures = newer.turned().means()
        return _Behind(f"overtaken by {ONLINE}: {figures}, the newer half of those since the gates", surely=late)
    lower = least_gain(rivalry, 1.0 - pipeline.gates.confidence)
    if lower <= 0.0:
        return _Behind(
            f"not surely better than {ONLINE}, which goes on learning: {figures} since the gates, lower bound of the "
            f"difference {lower:.4g}",
            surely=late,
        )
    return None


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
