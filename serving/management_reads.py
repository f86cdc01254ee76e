"""What people and monitoring read of retraining and production: folds of the topics, no state of their own."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, TypeAlias

import msgspec
from fastapi import APIRouter, Query, Response

from serving.access import Reader
from serving.answers import REF, AlertPage, DecisionPage, Production, RunPage, Stats, VersionCondition, VersionPage
from serving.deps import ServingDeps
from serving.documented import read_answers
from serving.health import served
from serving.named import check_model, known_version
from serving.overview import Overview
from serving.verdict import check_retrain

MOST_PER_PAGE = 500

_Limit: TypeAlias = Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="Most items of the answer.")]
_Before: TypeAlias = Annotated[int | None, Query(ge=0, le=2**62, description="`next_before` of the page before.")]


def retraining_routes(router: APIRouter, deps: ServingDeps, overview: Overview) -> None:
    """Add the routes that read of runs, decisions and versions to ``router``."""

    @router.get("/cicd/pipeline-history", summary="All runs of the pipeline", responses=read_answers("RunPage"))
    async def pipeline_history(_caller: Reader, limit: _Limit = 50, before: _Before = None) -> Response:
        with overview.lock:
            runs, more = overview.history.run_page(limit, before)
            return _json(RunPage(runs=runs, next_before=more))

    @router.get(
        "/cicd/check-retrain/{model_id}",
        summary="Would a trigger start a run now, and why not",
        responses=read_answers("Verdict", absent=True),
    )
    @router.post("/cicd/check-retrain/{model_id}", include_in_schema=False)
    async def check(_caller: Reader, model_id: str) -> Response:
        check_model(deps, model_id)
        with overview.lock:
            return _json(check_retrain(deps.pipeline, overview.history, overview.condition, deps.clock.now_ms()))

    @router.get("/retraining/history", summary="All decisions about models", responses=read_answers("DecisionPage"))
    async def decision_history(_caller: Reader, limit: _Limit = 50, before: _Before = None) -> Response:
        with overview.lock:
            decisions, more = overview.history.decision_page(limit, before)
        return _json(DecisionPage(decisions=decisions, next_before=more))

    @router.get("/retraining/stats", summary="Counts of runs, triggers and outcomes", responses=read_answers("Stats"))
    async def stats(_caller: Reader) -> Response:
        with overview.lock:
            return _json(_stats(deps, overview))

    @router.get(
        "/versioning/{model_id}/versions",
        summary="All versions with their evidence",
        responses=read_answers("VersionPage", absent=True),
    )
    async def versions(_caller: Reader, model_id: str, limit: _Limit = 50, before: _Before = None) -> Response:
        check_model(deps, model_id)
        with overview.lock:
            history = overview.history
            found, more = history.version_page(limit, before)
            page = VersionPage(
                model_id=deps.pipeline.name,
                champion=history.champion,
                generation=history.generation,
                versions=found,
                next_before=more,
            )
            return _json(page)


def production_routes(router: APIRouter, deps: ServingDeps, overview: Overview) -> None:
    """Add the routes that read of what serves to ``router``."""
    name = deps.pipeline.name

    @router.get("/production-monitoring", summary="How the pipeline does now", responses=read_answers("Production"))
    async def production(_caller: Reader) -> Response:
        return _json(_production(deps, overview))

    @router.get("/production-monitoring/alerts", summary="Alerts", responses=read_answers("AlertPage"))
    async def alerts(_caller: Reader, limit: _Limit = 50, before: _Before = None) -> Response:
        with overview.lock:
            found, more = overview.condition.alert_page(limit, before)
        return _json(AlertPage(alerts=found, next_before=more))

    @router.get(
        "/production-monitoring/{model_id}",
        summary="How a model (the pipeline's name) or one version does",
        responses={
            **read_answers("Production", absent=True),
            200: {
                "description": "Production of the pipeline, or VersionCondition of a version",
                "content": {
                    "application/json": {
                        "schema": {"anyOf": [{"$ref": REF + "Production"}, {"$ref": REF + "VersionCondition"}]}
                    }
                },
            },
        },
    )
    async def monitoring(_caller: Reader, model_id: str) -> Response:
        if model_id == name:
            return _json(_production(deps, overview))
        serving = served(deps)["version"]
        with overview.lock:
            view = known_version(overview, model_id)
            quality = overview.condition.quality(model_id)
            return _json(VersionCondition(model_id=name, version=view, quality=quality, serves=model_id == serving))


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _stats(deps: ServingDeps, overview: Overview) -> Stats:
    """Call under the lock."""
    history, condition = overview.history, overview.condition
    judged = sum(history.outcomes[name] for name in ("promoted", "rejected", "failed"))
    return Stats(
        runs=sum(history.triggers.values()),
        by_trigger=dict(history.triggers),
        by_outcome=dict(history.outcomes),
        not_started_by_trigger=dict(history.not_started),
        refused=history.refused,
        promoted_share=history.outcomes["promoted"] / judged if judged else None,
        started_within_24h=history.started_within_day(condition.event_time_ms),
        daily_runs=deps.pipeline.retraining.daily_runs,
        switch=history.switch,
        running=history.run_going_on(),
        waiting_for_approval=[view.version for view in history.waiting()],
    )


def _production(deps: ServingDeps, overview: Overview) -> Production:
    present, now = served(deps), overview.present(deps.clock.now_ms())
    with overview.lock:
        history, condition = overview.history, overview.condition
        run = history.run_going_on()
        return Production(
            model_id=deps.pipeline.name,
            task=deps.pipeline.task,
            champion=present["version"],
            kind=present["kind"],
            generation=present["generation"],
            shadows=[shadow["version"] for shadow in present["shadows"]],
            quality=now["quality"],
            health=condition.health,
            drift_score=condition.drift_score,
            open_incidents=condition.open_incidents(),
            alerts_by_severity=dict(Counter(each.alert.severity for each in condition.alerts)),
            **{
                name: now["throughput"][name]
                for name in ("predictions", "predictions_per_s", "labelled", "labelled_per_s")
            },
            event_time_ms=condition.event_time_ms,
            switch=history.switch,
            running=run.run_id if run else None,
        )
