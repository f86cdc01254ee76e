"""How a run starts, and what keeps it from starting: drafts of decisions, pure functions of state and progress."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from online.policy.advice import moment
from penstock.events import DataRange, Decision, Step
from penstock.spec import DAY_MS, Pipeline
from retraining.progress import Progress
from retraining.states import State, starts


class Obstacle(NamedTuple):
    """Why no run can start now. ``passes``: what is in the way goes away by itself, so a trigger may wait for it."""

    why: str
    passes: bool


def now_ms(state: State, progress: Progress) -> int:
    """Event time at the stream's present point."""
    return state.event_time_ms if progress.event_time_ms is None else progress.event_time_ms


def labelled_rows(state: State, progress: Progress) -> int:
    """Labelled rows at the stream's present point."""
    return max(progress.labelled, state.labelled)


def draft(state: State, progress: Progress, step: Step, *, run_id: str, trigger: str, reason: str) -> Decision:
    """A decision at the stream's present point, not yet in the chain."""
    return Decision(
        seq=0,
        run_id=run_id,
        step=step,
        event_time_ms=now_ms(state, progress),
        record_id=progress.record_id or state.record_id,
        trigger=trigger,
        reason=reason,
        generation=state.champion.generation,
        labelled=labelled_rows(state, progress),
        rows=max(progress.rows, state.rows),
    )


def not_started(
    state: State, progress: Progress, trigger: str, what: str, why: str, data: DataRange | None = None
) -> Decision:
    """The decision that a trigger starts no run. With ``data`` it waits: `on_waiting` starts one from there."""
    run = state.run.id if state.run else ""
    decision = draft(state, progress, "not_started", run_id=run, trigger=trigger, reason=f"{what}: {why}")
    return msgspec.structs.replace(decision, data=data)


def run_id(pipeline: Pipeline, number: int, trigger: str, event_time_ms: int) -> str:
    """The id of a run: its number, and a digest so that runs of different histories do not share one."""
    digest = hashlib.sha256(f"{pipeline.name}|{trigger}|{event_time_ms}".encode()).hexdigest()
    return f"{pipeline.name}-{number}-{digest[:8]}"


def started(
    pipeline: Pipeline, state: State, progress: Progress, trigger: str, reason: str, data: DataRange
) -> Decision:
    """The decision that a trigger starts a run. Only where there is no `obstacle`."""
    decision = draft(state, progress, "triggered", run_id="", trigger=trigger, reason=reason)
    identity = run_id(pipeline, state.runs + 1, trigger, decision.event_time_ms)
    return msgspec.structs.replace(decision, run_id=identity, data=data)


def obstacle(pipeline: Pipeline, state: State, progress: Progress) -> Obstacle | None:
    """What keeps a trigger from starting a run by itself, the lasting first; None: nothing does."""
    return (
        switched_off(pipeline, state)
        or going_on(state)
        or _cooling_down(pipeline, state, progress)
        or budget_used(pipeline, state, progress)
    )


def switched_off(pipeline: Pipeline, state: State) -> Obstacle | None:
    """Retraining is off, in the pipeline or by a person."""
    if not pipeline.retraining.enabled:
        return Obstacle("retraining is switched off in the pipeline", passes=False)
    if state.paused is not None:
        since = moment(state.paused.event_time_ms)
        return Obstacle(f"retraining is paused by {state.paused.by} since {since}", passes=False)
    return None


def going_on(state: State) -> Obstacle | None:
    """Another run has not ended."""
    return None if state.run is None else Obstacle(f"run {state.run.id} is going on", passes=True)


def ready_at(pipeline: Pipeline, state: State) -> int | None:
    """The labelled row at which the cooldown after the last run ends; None before any run has ended."""
    return None if state.ended_at is None else state.ended_at + pipeline.retraining.cooldown_rows


def _cooling_down(pipeline: Pipeline, state: State, progress: Progress) -> Obstacle | None:
    ready = ready_at(pipeline, state)
    if ready is None or labelled_rows(state, progress) >= ready:
        return None
    return Obstacle(f"cooling down after the last run; starts at labelled row {ready}", passes=True)


def started_today(state: State, at_ms: int) -> list[int]:
    """The event times of the runs that started within 24 hours of ``at_ms``, oldest first."""
    return sorted(start_ms for start_ms in state.started if abs(at_ms - start_ms) < DAY_MS)


def budget_used(pipeline: Pipeline, state: State, progress: Progress) -> Obstacle | None:
    """As many runs as a day may have started within the last 24 hours of event time."""
    most = pipeline.retraining.daily_runs
    today = started_today(state, now_ms(state, progress))
    if len(today) < most:
        return None
    free = moment(today[-most] + DAY_MS)
    return Obstacle(f"the budget of {most} runs within 24 hours is used up until {free}", passes=True)


def on_waiting(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """Start the run of a trigger that had to wait, as soon as nothing is in its way."""
    waiting = state.deferred
    if waiting is None or waiting.data is None or obstacle(pipeline, state, progress) is not None:
        return None
    base = waiting.labelled - waiting.data.rows
    data = progress.until_now(starts(waiting.data), labelled_rows(state, progress) - base)
    reason = f"{waiting.reason.partition(': ')[0]}, seen at labelled row {waiting.labelled}"
    return started(pipeline, state, progress, waiting.trigger, reason, data)


#: Triggers that name no point in time from which on the data is another: the rows that are there will do.
_ANY_ROWS = ("command:", "performance:", "tick:", "volume:")


def on_enough(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``collected`` as soon as the run has its labelled rows."""
    run = state.run
    if run is None or run.phase != "collecting":
        return None
    policy = pipeline.retraining
    wanted = policy.collect_rows
    if run.trigger.startswith(_ANY_ROWS):
        wanted = min(wanted, policy.trial_rows)
    rows = progress.labelled - run.base
    if rows < wanted:
        return None
    reason = f"{rows} labelled rows since the start ({wanted} wanted)"
    decision = draft(state, progress, "collected", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(decision, data=progress.until_now(run.start, rows))
