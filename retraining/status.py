"""What retraining does now, and what it waits for: for people, from the log alone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.events import Decision, TickCommand
from penstock.spec import Pipeline
from retraining.progress import Progress
from retraining.states import State
from retraining.triggers import labelled_rows, now_ms, obstacle, ready_at, started_today

#: Decisions that say why nothing started.
REASONS = 10


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A decision in short."""

    trigger: str
    reason: str
    event_time_ms: int
    labelled: int
    by: str = ""


class GoingOn(msgspec.Struct, frozen=True, kw_only=True):
    """The run that has not ended; ``rows`` labelled since its data begins."""

    run_id: str
    trigger: str
    phase: str
    rows: int
    version: str


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """The next tick of a schedule (a cron line, or ``at_latest``); wall time."""

    schedule: str
    at_ms: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How retraining stands.

    ``obstacle``: why no trigger starts a run now (None: one would). ``runs_left`` may start within 24 hours of event
    time. ``cooldown_until`` is a count of labelled rows (None: it does not cool down). ``not_started``: newest first.
    """

    enabled: bool
    paused: Told | None
    run: GoingOn | None
    obstacle: str | None
    runs_left: int
    labelled: int
    cooldown_until: int | None
    waiting: Told | None
    upcoming: list[Due]
    not_started: list[Told]


def status(
    pipeline: Pipeline, state: State, progress: Progress, decisions: Sequence[Decision], upcoming: Sequence[TickCommand]
) -> Status:
    """The status after ``decisions``, all that there are, whose fold is ``state``."""
    policy, run, labelled = pipeline.retraining, state.run, labelled_rows(state, progress)
    way, ready = obstacle(pipeline, state, progress), ready_at(pipeline, state)
    refused = [decision for decision in decisions if decision.step == "not_started"]
    going_on = None
    if run is not None:
        rows = max(0, labelled - run.base)
        going_on = GoingOn(run_id=run.id, trigger=run.trigger, phase=run.phase, rows=rows, version=run.version)
    return Status(
        enabled=policy.enabled,
        paused=None if state.paused is None else _told(state.paused),
        run=going_on,
        obstacle=None if way is None else way.why,
        runs_left=max(0, policy.daily_runs - len(started_today(state, now_ms(state, progress)))),
        labelled=labelled,
        cooldown_until=ready if ready is not None and labelled < ready else None,
        waiting=None if state.deferred is None else _told(state.deferred),
        upcoming=[Due(schedule=tick.schedule, at_ms=tick.at_ms) for tick in upcoming],
        not_started=[_told(decision) for decision in reversed(refused[-REASONS:])],
    )


def _told(decision: Decision) -> Told:
    return Told(
        trigger=decision.trigger,
        reason=decision.reason,
        event_time_ms=decision.event_time_ms,
        labelled=decision.labelled,
        by=decision.by,
    )
