"""Runs that drift incidents start: a critical one, or several warnings."""

from __future__ import annotations

import msgspec

from penstock.events import DataRange, Decision, Drift
from penstock.spec import Pipeline
from retraining.progress import Progress, Warned
from retraining.states import WARNINGS, Run, State, starts
from retraining.triggers import draft, not_started, now_ms, obstacle, started, switched_off

#: A run that was sent back to a newer drift point this often goes on, or a restless stream would never get a model.
MOST_RESTARTS = 2
HOUR_MS = 3_600_000


def on_drift(pipeline: Pipeline, state: State, progress: Progress, drift: Drift) -> Decision | None:
    """The decision on a drift incident; None where it is no trigger (closed, or decided on before).

    Call it once ``progress`` has observed the incident.
    """
    if drift.status == "closed":
        return None
    if drift.level == "critical" and pipeline.retraining.critical:
        return _on_critical(pipeline, state, progress, drift)
    return _on_warning(pipeline, state, progress, drift)


def _on_critical(pipeline: Pipeline, state: State, progress: Progress, drift: Drift) -> Decision | None:
    trigger = f"drift:{drift.id}"
    if trigger in state.seen:
        return None
    since = drift.event_time_ms if drift.since_event_time_ms is None else drift.since_event_time_ms
    what = f"critical {drift.kind} drift" + (f" of {drift.feature}" if drift.feature else "") + f" ({drift.detector})"
    off = switched_off(pipeline, state)
    if off is not None:
        return not_started(state, progress, trigger, what, off.why)
    if drift.generation < state.renewed:
        why = f"it is about generation {drift.generation}, which is no longer served"
        return not_started(state, progress, trigger, what, why)
    return _from(pipeline, state, progress, trigger, what, progress.since(since, pipeline.partitions))


def _on_warning(pipeline: Pipeline, state: State, progress: Progress, drift: Drift) -> Decision | None:
    """The decision on the warning that makes enough of them; None on the others.

    Those count that opened within the window and since warnings were last counted, or a run last started. So after a
    run, and after a decision to start none, it takes as many new ones.
    """
    policy, trigger = pipeline.retraining, f"{WARNINGS}{drift.id}"
    if policy.warnings is None or drift.id not in progress.warnings or drift.status != "opened":
        return None
    if trigger in state.seen:
        return None
    counted = _counted(pipeline, state, progress)
    if drift.id not in counted or len(counted) < policy.warnings:
        return None
    what = f"{len(counted)} warnings within {policy.warnings_window_ms / HOUR_MS:g} hours ({', '.join(counted)})"
    off = switched_off(pipeline, state)
    if off is not None:
        return not_started(state, progress, trigger, what, off.why)
    since = max(warned.since_event_time_ms for warned in counted.values())
    return _from(pipeline, state, progress, trigger, what, progress.since(since, pipeline.partitions))


def _counted(pipeline: Pipeline, state: State, progress: Progress) -> dict[str, Warned]:
    now, window_ms = now_ms(state, progress), pipeline.retraining.warnings_window_ms
    # A decision at a time that the stream has not reached was made by a record with a wrong time.
    after = state.warned_ms if state.warned_ms is not None and state.warned_ms <= now else None
    return {
        identity: warned
        for identity, warned in progress.warnings.items()
        if now - window_ms < warned.event_time_ms
        and (after is None or warned.event_time_ms > after)
        and warned.generation >= state.renewed
    }


def _from(pipeline: Pipeline, state: State, progress: Progress, trigger: str, what: str, data: DataRange) -> Decision:
    """A run from the drift's beginning on: started, waiting, or the present one sent back to there."""
    run = state.run
    if run is not None:
        return _beside(state, progress, run, trigger, what, data)
    way = obstacle(pipeline, state, progress)
    if way is not None:
        return not_started(state, progress, trigger, what, way.why, data if way.passes else None)
    return started(pipeline, state, progress, trigger, what, data)


def _beside(state: State, progress: Progress, run: Run, trigger: str, what: str, data: DataRange) -> Decision:
    if not any(first > run.start.get(partition, -1) for partition, first in starts(data).items()):
        why = f"run {run.id} already has the data from that point on"
        return not_started(state, progress, trigger, what, why)
    if run.phase != "collecting":
        why = f"run {run.id} is going on ({run.phase}); starts after it"
        return not_started(state, progress, trigger, what, why, data)
    if run.restarts >= MOST_RESTARTS:
        return not_started(state, progress, trigger, what, f"run {run.id} was sent back {run.restarts} times already")
    reason = f"{what} during the collection: the rows before it are of a concept that is gone; collecting from there"
    decision = draft(state, progress, "triggered", run_id=run.id, trigger=trigger, reason=reason)
    return msgspec.structs.replace(decision, data=data)
