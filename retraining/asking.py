"""What people and the schedule ask for: a run, its end, a pause. Each command gets exactly one decision."""

from __future__ import annotations

import msgspec

from online.policy.advice import moment
from penstock.events import CancelCommand, Decision, PauseCommand, RetrainCommand, Step, TickCommand
from penstock.spec import DAY_MS, Pipeline
from retraining.progress import Progress
from retraining.states import State
from retraining.triggers import budget_used, draft, labelled_rows, not_started, obstacle, started

#: The schedule of ticks that are due so long after the last run.
AT_LATEST = "at_latest"


def on_retrain(pipeline: Pipeline, state: State, progress: Progress, command: RetrainCommand) -> Decision | None:
    """The decision on a person's command; None where the command was decided on before.

    A person may also ask where automatic retraining is switched off, is paused or cools down.
    """
    trigger, what = f"command:{command.id}", _asked(command)
    if trigger in state.seen:
        return None
    if state.run is not None:
        decision = not_started(state, progress, trigger, what, f"run {state.run.id} is going on ({state.run.phase})")
    elif (used := budget_used(pipeline, state, progress)) is not None:
        decision = not_started(state, progress, trigger, what, used.why)
    else:
        data = progress.newest(pipeline.retraining.trial_rows, pipeline.partitions)
        decision = started(pipeline, state, progress, trigger, what, data)
    return msgspec.structs.replace(decision, by=command.by)


def on_tick(pipeline: Pipeline, state: State, progress: Progress, tick: TickCommand) -> Decision | None:
    """The decision on a due time of the schedule; None where it was decided on before.

    A tick never waits: the next one comes. Without a row that no run has seen it starts none.
    """
    trigger, policy = f"tick:{tick.id}", pipeline.retraining
    if trigger in state.seen:
        return None
    what, declared = f"schedule {tick.schedule}, due {moment(tick.at_ms)}", tick.schedule == policy.schedule
    if tick.schedule == AT_LATEST:
        declared = policy.at_latest_ms is not None
        what = f"{(policy.at_latest_ms or 0) / DAY_MS:g} days after the last run, due {moment(tick.at_ms)}"
    if not declared:
        return not_started(state, progress, trigger, what, "the pipeline no longer has this schedule")
    way = obstacle(pipeline, state, progress)
    if way is not None:
        return not_started(state, progress, trigger, what, way.why)
    if labelled_rows(state, progress) <= state.started_at:
        why = "no row was labelled since the last run started" if state.runs else "no row is labelled yet"
        return not_started(state, progress, trigger, what, why)
    data = progress.newest(policy.trial_rows, pipeline.partitions)
    return started(pipeline, state, progress, trigger, what, data)


def on_pause(state: State, progress: Progress, command: PauseCommand) -> Decision | None:
    """``paused`` or ``resumed``, or ``refused`` where it is so already; None where it was decided on before."""
    trigger, what = f"command:{command.id}", _asked(command)
    if trigger in state.seen:
        return None
    if command.paused == (state.paused is not None):
        paused = state.paused
        since = f"paused by {paused.by} since {moment(paused.event_time_ms)}" if paused else "not paused"
        reason = f"{what}: retraining is {since}"
        decision = draft(state, progress, "refused", run_id="", trigger=trigger, reason=reason)
    else:
        step: Step = "paused" if command.paused else "resumed"
        decision = draft(state, progress, step, run_id="", trigger=trigger, reason=what)
    return msgspec.structs.replace(decision, by=command.by)


def on_cancel(state: State, progress: Progress, command: CancelCommand) -> Decision | None:
    """``cancelled``: the run ends here; or ``refused``, with the reason; None where it was decided on before.

    What the run's effects still say is not waited for. A version that is announced leaves its slot.
    """
    trigger, what, run = f"command:{command.id}", _asked(command), state.run
    if trigger in state.seen:
        return None
    if run is None or command.run_id not in ("", run.id):
        which = f"run {command.run_id}" if command.run_id else "no run"
        why = f"{which} is not going on" if command.run_id else "no run is going on"
        why += f"; {run.id} is" if run else ""
        decision = draft(state, progress, "refused", run_id="", trigger=trigger, reason=f"{what}: {why}")
        return msgspec.structs.replace(decision, by=command.by)
    reason = f"{what} ({run.phase})"
    decision = draft(state, progress, "cancelled", run_id=run.id, trigger=trigger, reason=reason)
    return msgspec.structs.replace(decision, by=command.by, version=run.version)


def _asked(command: RetrainCommand | PauseCommand | CancelCommand) -> str:
    return f"asked for by {command.by}" + (f": {command.reason}" if command.reason else "")
