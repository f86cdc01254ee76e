"""Would a trigger start a run now, and why not: read from what the retrainer wrote, for people who ask beforehand.

The retrainer decides with state of its own; this never decides anything. Values are those that the topics tell.
"""

from __future__ import annotations

import msgspec

from online.policy.advice import moment
from penstock.cron import parse_cron
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


def check_retrain(pipeline: Pipeline, history: History, condition: Condition, now_ms: int) -> Verdict:
    """The verdict at this moment of the stream, which is ``now_ms`` by the wall clock."""
    blockers = _blockers(pipeline, history, condition)
    triggers = _triggers(pipeline, history, condition, now_ms)
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
    if history.ended_at is not None and condition.labelled < (ready := history.ended_at + policy.cooldown_rows):
        found.append(
            Blocker(name="cooldown", detail=f"cooling down to labelled row {ready} (now {condition.labelled})")
        )
    today = history.started_within_day(condition.event_time_ms)
    if today >= policy.daily_runs:
        why = f"{today} runs started within 24 hours of event time ({policy.daily_runs} allowed)"
        found.append(Blocker(name="budget", detail=why, person_too=True))
    return found


def _triggers(pipeline: Pipeline, history: History, condition: Condition, now_ms: int) -> list[TriggerView]:
    policy, inputs, open_now = pipeline.retraining, condition.inputs, condition.open_incidents()
    critical = sum(each.level == "critical" and history.answer(f"drift:{each.id}") is None for each in open_now)
    far_since = inputs.drift_score_since_ms if inputs else None
    far_ms = 0 if far_since is None else condition.event_time_ms - far_since
    last = history.last_run
    return [
        _trigger("critical_drift", 1.0 if policy.critical else None, critical),
        _trigger("warnings", policy.warnings, _warnings(pipeline, history, condition)),
        _lasting_warning(pipeline, history, condition),
        _performance_drop(pipeline, history, condition),
        _trigger(
            "drift_score",
            policy.drift_score,
            inputs.drift_score if inputs else None,
            reached=far_since is not None and far_ms >= policy.drift_score_ms,
            detail=f"above its limit for {far_ms} ms, {policy.drift_score_ms} ms count",
        ),
        _trigger(
            "drifted_share",
            policy.drifted_share,
            inputs.drifted_share if inputs else None,
            reached=inputs is not None and inputs.drifted_share_since_ms is not None,
        ),
        _trigger("new_rows", policy.new_rows, condition.labelled - (last.labelled if last else 0)),
        _trigger("at_latest_ms", policy.at_latest_ms, now_ms - last.at_ms if last else None),
        TriggerView(
            name="schedule",
            enabled=policy.schedule is not None,
            threshold=None,
            value=None,
            reached=False,
            detail=_next_due(policy.schedule, now_ms) if policy.schedule else "",
        ),
    ]


def _warnings(pipeline: Pipeline, history: History, condition: Condition) -> int:
    """Incidents below critical that opened within the window and since the last run started."""
    since_ms = condition.event_time_ms - pipeline.retraining.warnings_window_ms
    if history.last_run is not None:
        since_ms = max(since_ms, history.last_run.event_time_ms)
    return sum(each.opened_ms > since_ms and each.level != "critical" for each in condition.incidents.values())


def _lasting_warning(pipeline: Pipeline, history: History, condition: Condition) -> TriggerView:
    """For how many labelled rows a warning has been open at most, counted from the last run's start at the earliest."""
    started = history.last_run.labelled if history.last_run else 0
    waiting = [
        condition.labelled - max(each.opened_labelled, started)
        for each in condition.open_incidents()
        if each.level != "critical" and not _has_run(history, f"warning:{each.id}")
    ]
    detail = "labelled rows since the oldest open warning opened, or the last run started"
    return _trigger("warning_rows", pipeline.retraining.warning_rows, max(waiting, default=0), detail=detail)


def _performance_drop(pipeline: Pipeline, history: History, condition: Condition) -> TriggerView:
    """The test that the retrainer makes, on the metrics that serving remembers."""
    limit, performance = pipeline.retraining.performance_drop, condition.performance
    drop = performance.drop if performance.generation == history.generation else None
    if drop is None:
        detail = "nothing beyond chance, as far as serving remembers"
        return _trigger("performance_drop", limit, None, reached=False, detail=detail)
    fall = drop.before - drop.now
    value = -fall / drop.before if pipeline.task == "regression" else fall
    detail = f"{drop.figure} {drop.now:.4g} over the newest {drop.rows} rows, {drop.before:.4g} before"
    new = not _has_run(history, f"performance-drop:{performance.since}")
    return _trigger("performance_drop", limit, value, reached=new, detail=detail)


def _has_run(history: History, trigger: str) -> bool:
    decision = history.answer(trigger)
    return decision is not None and decision.step == "triggered"


def _next_due(schedule: str, now_ms: int) -> str:
    return f"cron, UTC: {schedule}; next due {moment(parse_cron(schedule).next(now_ms))}"


def _trigger(
    name: str, threshold: float | None, value: float | None, *, reached: bool | None = None, detail: str = ""
) -> TriggerView:
    """``reached`` None: the value is at least the threshold."""
    enabled = threshold is not None
    if reached is None:
        reached = threshold is not None and value is not None and value >= threshold
    return TriggerView(
        name=name, enabled=enabled, threshold=threshold, value=value, reached=enabled and reached, detail=detail
    )
