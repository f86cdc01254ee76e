"""What starts a run, what does not, and why: drafts of decisions, pure functions of state and progress."""

from __future__ import annotations

import hashlib
import math
from statistics import fmean, stdev

import msgspec

from penstock.events import DataRange, Decision, Drift, RetrainCommand, Step
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.progress import Progress
from retraining.states import State, starts

#: A run that was sent back to a newer drift point this often goes on, or a restless stream would never get a model.
MOST_RESTARTS = 2
#: The online model has outpaced a champion when over at least so many looks its loss was lower by this share of the
#: champion's, and the looks' mean difference is this many standard errors from zero. Whether it (or a new model)
#: takes over is for the gates: here a mistake costs a fit.
OUTPACED_LOOKS = 10
OUTPACED_SHARE = 0.05
OUTPACED_ERRORS = 3.0


def draft(state: State, progress: Progress, step: Step, *, run_id: str, trigger: str, reason: str) -> Decision:
    """A decision at the stream's present point, not yet in the chain."""
    at = state.event_time_ms if progress.event_time_ms is None else progress.event_time_ms
    return Decision(
        seq=0,
        run_id=run_id,
        step=step,
        event_time_ms=at,
        record_id=progress.record_id or state.record_id,
        trigger=trigger,
        reason=reason,
        generation=state.champion.generation,
        labelled=max(progress.labelled, state.labelled),
        rows=max(progress.rows, state.rows),
    )


def _with(decision: Decision, data: DataRange) -> Decision:
    return msgspec.structs.replace(decision, data=data)


def run_id(pipeline: Pipeline, number: int, trigger: str, event_time_ms: int) -> str:
    """The id of a run: its number, and a digest so that runs of different histories do not share one."""
    digest = hashlib.sha256(f"{pipeline.name}|{trigger}|{event_time_ms}".encode()).hexdigest()
    return f"{pipeline.name}-{number}-{digest[:8]}"


def on_drift(pipeline: Pipeline, state: State, progress: Progress, drift: Drift) -> Decision | None:
    """The decision on a drift incident; None where it is no trigger (a warning, closed, or decided on before)."""
    trigger = f"drift:{drift.id}"
    if drift.level != "critical" or drift.status == "closed" or trigger in state.seen:
        return None
    since = drift.event_time_ms if drift.since_event_time_ms is None else drift.since_event_time_ms
    data = progress.since(since, pipeline.partitions)
    what = f"critical {drift.kind} drift" + (f" of {drift.feature}" if drift.feature else "") + f" ({drift.detector})"

    def not_started(why: str, *, later: bool = False) -> Decision:
        run = state.run.id if state.run else ""
        decision = draft(state, progress, "not_started", run_id=run, trigger=trigger, reason=f"{what}: {why}")
        return _with(decision, data) if later else decision

    if not pipeline.retraining.enabled:
        return not_started("retraining is switched off in the pipeline")
    if drift.generation < state.champion.generation:
        return not_started(f"it is about generation {drift.generation}, which is no longer served")
    if state.run is None:
        ready = _ready_at(pipeline, state)
        if ready is not None and max(progress.labelled, state.labelled) < ready:
            return not_started(f"cooling down after the last run; starts at labelled row {ready}", later=True)
        return _started(pipeline, state, progress, trigger, what, data)
    run = state.run
    if not _later(starts(data), run.start):
        return not_started(f"run {run.id} already has the data from that point on")
    if run.phase != "collecting":
        return not_started(f"run {run.id} is going on ({run.phase}); starts after it", later=True)
    if run.restarts >= MOST_RESTARTS:
        return not_started(f"run {run.id} was sent back {run.restarts} times already")
    decision = draft(
        state,
        progress,
        "triggered",
        run_id=run.id,
        trigger=trigger,
        reason=f"{what} during the collection: the rows before it are of a concept that is gone; collecting from there",
    )
    return _with(decision, data)


def _later(start: dict[str, int], than: dict[str, int]) -> bool:
    return any(first > than.get(partition, -1) for partition, first in start.items())


def _ready_at(pipeline: Pipeline, state: State) -> int | None:
    return None if state.ended_at is None else state.ended_at + pipeline.retraining.cooldown_rows


def _started(
    pipeline: Pipeline, state: State, progress: Progress, trigger: str, reason: str, data: DataRange
) -> Decision:
    decision = draft(state, progress, "triggered", run_id="", trigger=trigger, reason=reason)
    identity = run_id(pipeline, state.runs + 1, trigger, decision.event_time_ms)
    return msgspec.structs.replace(decision, run_id=identity, data=data)


def on_command(pipeline: Pipeline, state: State, progress: Progress, command: RetrainCommand) -> Decision | None:
    """The decision on a person's command; None where the command was decided on before.

    A person may also ask where automatic retraining is switched off or cools down.
    """
    trigger = f"command:{command.id}"
    if trigger in state.seen:
        return None
    what = f"asked for by {command.by}" + (f": {command.reason}" if command.reason else "")
    if state.run is not None:
        why = f"{what}: run {state.run.id} is going on ({state.run.phase})"
        return draft(state, progress, "not_started", run_id=state.run.id, trigger=trigger, reason=why)
    data = progress.newest(pipeline.retraining.trial_rows, pipeline.partitions)
    return _started(pipeline, state, progress, trigger, what, data)


def on_waiting(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """Start the run of a trigger that had to wait, as soon as nothing is in its way."""
    waiting, ready = state.deferred, _ready_at(pipeline, state)
    if waiting is None or waiting.data is None or state.run is not None:
        return None
    labelled = max(progress.labelled, state.labelled)
    if ready is not None and labelled < ready:
        return None
    base = waiting.labelled - waiting.data.rows
    data = progress.until_now(starts(waiting.data), labelled - base)
    reason = f"{waiting.reason.partition(': ')[0]}, seen at labelled row {waiting.labelled}"
    return _started(pipeline, state, progress, waiting.trigger, reason, data)


def on_outpaced(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """Start a run where the online model does better than the batch model that is served, drift alarm or not."""
    ready = _ready_at(pipeline, state)
    if not pipeline.retraining.enabled or state.run is not None or state.champion.version == ONLINE:
        return None
    if ready is not None and progress.labelled < ready:
        return None
    looks = [
        look
        for look in progress.compared
        if look.generation == state.champion.generation and look.labelled > (state.ended_at or 0)
    ]
    if len(looks) < OUTPACED_LOOKS:
        return None
    gains = [look.served - look.online for look in looks]
    gain, served = fmean(gains), fmean(look.served for look in looks)
    if gain < OUTPACED_SHARE * served or gain < OUTPACED_ERRORS * stdev(gains) / math.sqrt(len(gains)):
        return None
    reason = f"the online model outpaces {state.champion.version}: loss {served - gain:.4g} against {served:.4g} "
    reason += f"over {len(looks)} looks"
    data = progress.newest(pipeline.retraining.collect_rows, pipeline.partitions)
    return _started(pipeline, state, progress, f"performance:{progress.labelled}", reason, data)


def on_enough(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``collected`` as soon as the run has its labelled rows."""
    run = state.run
    if run is None or run.phase != "collecting":
        return None
    policy = pipeline.retraining
    wanted = policy.collect_rows
    if run.trigger.startswith(("command:", "performance:")):
        wanted = min(wanted, policy.trial_rows)
    rows = progress.labelled - run.base
    if rows < wanted:
        return None
    reason = f"{rows} labelled rows since the start ({wanted} wanted)"
    decision = draft(state, progress, "collected", run_id=run.id, trigger=run.trigger, reason=reason)
    return _with(decision, progress.until_now(run.start, rows))
