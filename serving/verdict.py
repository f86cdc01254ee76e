"""Would a trigger start a run now, and why not: read from what the retrainer wrote, for people who ask beforehand.

The retrainer decides with state of its own; this never decides anything. Values are those that the topics tell.
"""

from __future__ import annotations

import msgspec

from penstock.spec import Pipeline
from serving.condition import Condition
from serving.history import History


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """Something that keeps runs from starting by themselves. ``person_too``: a person cannot start one either."""

    name: str
    detail: str
    person_too: bool = False


class TriggerView(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger of the policy. ``value`` is None where the topics do not tell it."""

    name: str
    enabled: bool
    threshold: float | None
    value: float | None
    reached: bool
    detail: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``would_start``: a trigger has been reached and nothing is in its way. ``person_would_start``: one asked now."""

    model_id: str
    would_start: bool
    person_would_start: bool
    why: str
    blockers: list[Blocker]
    triggers: list[TriggerView]


def check_retrain(pipeline: Pipeline, history: History, condition: Condition) -> Verdict:
    """The verdict at this moment of the stream."""
    blockers = _blockers(pipeline, history, condition)
    triggers = _triggers(pipeline, history, condition)
    reached = [trigger.name for trigger in triggers if trigger.enabled and trigger.reached]
    if blockers and reached:
        why = f"{', '.join(reached)} would start a run, but {blockers[0].detail}"
    elif blockers:
        why = blockers[0].detail
    elif reached:
        why = f"{', '.join(reached)}: reached"
    else:
        why = "nothing is in the way, and no trigger has been reached"
    return Verdict(
        model_id=pipeline.name,
        would_start=bool(reached) and not blockers,
        person_would_start=not any(blocker.person_too for blocker in blockers),
        why=why,
        blockers=blockers,
        triggers=triggers,
    )


def _blockers(pipeline: Pipeline, history: History, condition: Condition) -> list[Blocker]:
    policy, found = pipeline.retraining, []
    if run := history.run_going_on():
        found.append(Blocker(name="run", detail=f"run {run.run_id} is going on ({run.step})", person_too=True))
    if not policy.enabled:
        found.append(Blocker(name="policy", detail="retraining is switched off in the pipeline"))
    if history.switch.paused:
        by = f" by {history.switch.by}" if history.switch.by else ""
        found.append(Blocker(name="pause", detail=f"retraining is paused{by}"))
    if history.ended_at is not None and condition.labelled < history.ended_at + policy.cooldown_rows:
        ready = history.ended_at + policy.cooldown_rows
        found.append(
            Blocker(name="cooldown", detail=f"cooling down until labelled row {ready} (now {condition.labelled})")
        )
    today = history.started_within_day(condition.event_time_ms)
    if today >= policy.daily_runs:
        found.append(
            Blocker(name="budget", detail=f"{today} runs started within 24 hours ({policy.daily_runs} allowed)")
        )
    return found


def _triggers(pipeline: Pipeline, history: History, condition: Condition) -> list[TriggerView]:
    policy, open_now = pipeline.retraining, condition.open_incidents()
    since = condition.event_time_ms - policy.warnings_window_ms
    warnings = sum(incident.opened_ms > since for incident in condition.incidents.values())
    drops = [incident.performance_drop for incident in open_now if incident.performance_drop is not None]
    drifted = {incident.feature for incident in open_now if incident.feature}
    fresh = None if history.ended_at is None else max(0, condition.labelled - history.ended_at)
    idle = None if history.last_run_ms is None else max(0, condition.event_time_ms - history.last_run_ms)
    score = condition.drift_score if open_now else 0.0
    undecided = [each for each in open_now if history.answer(f"drift:{each.id}") is None]
    critical = sum(each.level == "critical" for each in undecided)
    return [
        _trigger("critical_drift", 1 if policy.critical else None, critical),
        _trigger("warnings", policy.warnings, warnings),
        _trigger("performance_drop", policy.performance_drop, max(drops, default=None), over=True),
        _trigger("drift_score", policy.drift_score, score, over=True, holds="has to last"),
        _trigger("drifted_share", policy.drifted_share, len(drifted) / len(pipeline.features), over=True),
        _trigger("new_rows", policy.new_rows, condition.labelled if fresh is None else fresh),
        _trigger("at_latest_ms", policy.at_latest_ms, idle),
        TriggerView(
            name="schedule",
            enabled=policy.schedule is not None,
            threshold=None,
            value=None,
            reached=False,
            detail=f"cron, UTC: {policy.schedule}" if policy.schedule else "",
        ),
    ]


def _trigger(
    name: str, threshold: float | None, value: float | None, *, over: bool = False, holds: str = ""
) -> TriggerView:
    reached = threshold is not None and value is not None and (value > threshold if over else value >= threshold)
    return TriggerView(
        name=name,
        enabled=threshold is not None,
        threshold=threshold,
        value=value,
        reached=reached and not holds,
        detail=holds,
    )
