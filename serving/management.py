"""``/api/v1/mlops/``: what people and CI systems ask of retraining, and what they read about it."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from penstock.events import (
    ApprovalCommand,
    CancelCommand,
    ExperimentCommand,
    PauseCommand,
    PromoteCommand,
    RetrainCommand,
    RollbackCommand,
)
from serving.access import PREFIX, needs
from serving.answers import (
    REF,
    AlertPage,
    CancelBody,
    ChangeBody,
    CreateBody,
    DecisionPage,
    ExperimentBody,
    Production,
    RollbackBody,
    RunPage,
    StartBody,
    Stats,
    VersionCondition,
    VersionPage,
)
from serving.deps import ServingDeps
from serving.desk import Desk
from serving.health import served
from serving.history import VersionView
from serving.overview import Overview
from serving.roles import Caller
from serving.schemas import PROBLEMS, answer, problem_answer
from serving.verdict import check_retrain

MOST_PER_PAGE = 500

_DENIED: dict[int | str, dict[str, Any]] = {
    401: problem_answer("No valid API key."),
    403: problem_answer("The role does not allow it."),
    503: PROBLEMS[503],
}
_ABSENT: dict[int | str, dict[str, Any]] = {404: problem_answer("No such model, version or run.")}


def _answers(name: str, *, absent: bool = False) -> dict[int | str, dict[str, Any]]:
    return {200: answer(name), 422: PROBLEMS[422], **_DENIED, **(_ABSENT if absent else {})}


_COMMANDED: dict[int | str, dict[str, Any]] = {
    200: answer("Commanded") | {"description": "It was decided, and done."},
    202: answer("Commanded") | {"description": "It is in the log; no decision yet."},
    409: answer("Commanded") | {"description": "It was refused, or not started; `detail` says why."},
    400: PROBLEMS[400],
    413: PROBLEMS[413],
    422: PROBLEMS[422],
    **_DENIED,
    **_ABSENT,
}


def _takes(name: str) -> dict[str, Any]:
    """A body that may be left out where all of it is optional."""
    return {"requestBody": {"content": {"application/json": {"schema": {"$ref": REF + name}}}}}


def management_routes(deps: ServingDeps, desk: Desk, overview: Overview) -> APIRouter:
    """All of it. `serving.access.Access` has to be around the app: it says who calls."""
    router = APIRouter(prefix=PREFIX.rstrip("/"), tags=["management"])
    _reads(router, deps, overview)
    _runs(router, deps, desk, overview)
    _versions(router, deps, desk, overview)
    return router


_Reader = Annotated[Caller, Depends(needs("reader"))]
_Operator = Annotated[Caller, Depends(needs("operator"))]
_Admin = Annotated[Caller, Depends(needs("admin"))]
_Limit = Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="Most items of the answer.")]
_Before = Annotated[int | None, Query(ge=0, le=2**62, description="`next_before` of the page before.")]


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _of_this_pipeline(deps: ServingDeps, model_id: str | None) -> None:
    if model_id is not None and model_id != deps.pipeline.name:
        raise HTTPException(404, f"no model {model_id[:80]!r}; the model here is {deps.pipeline.name}")


def _known(overview: Overview, version: str) -> VersionView:
    """Call under the lock."""
    view = overview.history.versions.get(version)
    if view is None or view.kind == "none":
        raise HTTPException(404, f"no version {version[:80]!r}; `versioning` lists those that there are")
    return view


def _reads(router: APIRouter, deps: ServingDeps, overview: Overview) -> None:
    name = deps.pipeline.name

    @router.get("/cicd/pipeline-history", summary="All runs of the pipeline", responses=_answers("RunPage"))
    async def pipeline_history(_caller: _Reader, limit: _Limit = 50, before: _Before = None) -> Response:
        with overview.lock:
            runs, more = overview.history.run_page(limit, before)
            return _json(RunPage(runs=runs, next_before=more))

    @router.get(
        "/cicd/check-retrain/{model_id}",
        summary="Would a trigger start a run now, and why not",
        responses=_answers("Verdict", absent=True),
    )
    @router.post("/cicd/check-retrain/{model_id}", include_in_schema=False)
    async def check(_caller: _Reader, model_id: str) -> Response:
        _of_this_pipeline(deps, model_id)
        with overview.lock:
            return _json(check_retrain(deps.pipeline, overview.history, overview.condition, deps.clock.now_ms()))

    @router.get("/retraining/history", summary="All decisions about models", responses=_answers("DecisionPage"))
    async def decision_history(_caller: _Reader, limit: _Limit = 50, before: _Before = None) -> Response:
        with overview.lock:
            decisions, more = overview.history.decision_page(limit, before)
        return _json(DecisionPage(decisions=decisions, next_before=more))

    @router.get("/retraining/stats", summary="Counts of runs, triggers and outcomes", responses=_answers("Stats"))
    async def stats(_caller: _Reader) -> Response:
        with overview.lock:
            return _json(_stats(deps, overview))

    @router.get("/production-monitoring", summary="How the pipeline does now", responses=_answers("Production"))
    async def production(_caller: _Reader) -> Response:
        return _json(_production(deps, overview))

    @router.get("/production-monitoring/alerts", summary="Alerts", responses=_answers("AlertPage"))
    async def alerts(_caller: _Reader, limit: _Limit = 50, before: _Before = None) -> Response:
        with overview.lock:
            found, more = overview.condition.alert_page(limit, before)
        return _json(AlertPage(alerts=found, next_before=more))

    @router.get(
        "/production-monitoring/{model_id}",
        summary="How a model (the pipeline's name) or one version does",
        responses={
            **_answers("Production", absent=True),
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
    async def monitoring(_caller: _Reader, model_id: str) -> Response:
        if model_id == name:
            return _json(_production(deps, overview))
        serving = served(deps)["version"]
        with overview.lock:
            view = _known(overview, model_id)
            quality = overview.condition.quality(model_id)
            return _json(VersionCondition(model_id=name, version=view, quality=quality, serves=model_id == serving))

    @router.get(
        "/versioning/{model_id}/versions",
        summary="All versions with their evidence",
        responses=_answers("VersionPage", absent=True),
    )
    async def versions(_caller: _Reader, model_id: str, limit: _Limit = 50, before: _Before = None) -> Response:
        _of_this_pipeline(deps, model_id)
        with overview.lock:
            history = overview.history
            found, more = history.version_page(limit, before)
            page = VersionPage(
                model_id=name,
                champion=history.champion,
                generation=history.generation,
                versions=found,
                next_before=more,
            )
            return _json(page)


def _runs(router: APIRouter, deps: ServingDeps, desk: Desk, overview: Overview) -> None:

    async def retrain(request: Request, caller: Caller, body: StartBody, reason: str) -> Response:
        _of_this_pipeline(deps, body.model_id)
        identity = desk.new_id("retrain", body.id)
        return await desk.give(
            request, caller, RetrainCommand(id=identity, by=caller.name, at_ms=desk.now_ms(), reason=reason)
        )

    @router.post(
        "/cicd/run-pipeline",
        summary="Run the whole pipeline: collect, fit, gate, register, roll out",
        responses=_COMMANDED,
        openapi_extra=_takes("StartBody"),
    )
    async def run_pipeline(request: Request, caller: _Operator) -> Response:
        body = await desk.body(request, StartBody)
        return await retrain(request, caller, body, body.reason)

    @router.post(
        "/retraining/trigger",
        summary="Start a run now, on the newest labelled rows",
        responses=_COMMANDED,
        openapi_extra=_takes("StartBody"),
    )
    async def trigger(request: Request, caller: _Operator) -> Response:
        body = await desk.body(request, StartBody)
        return await retrain(request, caller, body, body.reason)

    @router.post(
        "/versioning/create-version",
        summary="A run under a note, whose version (if it passes the gates) keeps it",
        responses=_COMMANDED,
        openapi_extra=_takes("CreateBody"),
    )
    async def create_version(request: Request, caller: _Operator) -> Response:
        body = await desk.body(request, CreateBody)
        return await retrain(request, caller, body, "; ".join(part for part in (body.note, body.reason) if part))

    async def switch(request: Request, caller: Caller, *, paused: bool) -> Response:
        body = await desk.body(request, ChangeBody)
        identity = desk.new_id("pause" if paused else "resume", body.id)
        command = PauseCommand(id=identity, by=caller.name, at_ms=desk.now_ms(), paused=paused, reason=body.reason)
        return await desk.give(request, caller, command)

    @router.post(
        "/retraining/start",
        summary="Let retraining start by itself again",
        responses=_COMMANDED,
        openapi_extra=_takes("ChangeBody"),
    )
    async def start(request: Request, caller: _Operator) -> Response:
        return await switch(request, caller, paused=False)

    @router.post(
        "/retraining/stop",
        summary="Pause whatever starts retraining by itself; people still may",
        responses=_COMMANDED,
        openapi_extra=_takes("ChangeBody"),
    )
    async def stop(request: Request, caller: _Operator) -> Response:
        return await switch(request, caller, paused=True)

    @router.post(
        "/retraining/cancel",
        summary="End the run that is going on",
        responses=_COMMANDED,
        openapi_extra=_takes("CancelBody"),
    )
    async def cancel(request: Request, caller: _Operator) -> Response:
        body = await desk.body(request, CancelBody)
        with overview.lock:
            known = body.run_id is None or body.run_id in overview.history.runs
        if not known:
            raise HTTPException(404, f"no run {str(body.run_id)[:80]!r}; `cicd/pipeline-history` lists those there are")
        identity = desk.new_id("cancel", body.id)
        command = CancelCommand(
            id=identity, by=caller.name, at_ms=desk.now_ms(), run_id=body.run_id or "", reason=body.reason
        )
        return await desk.give(request, caller, command)


def _versions(router: APIRouter, deps: ServingDeps, desk: Desk, overview: Overview) -> None:

    def check(version: str) -> None:
        with overview.lock:
            _known(overview, version)

    @router.post(
        "/versioning/{version_id}/promote-to-production",
        summary="Let a registered version serve",
        responses=_COMMANDED,
        openapi_extra=_takes("ChangeBody"),
    )
    async def promote(request: Request, caller: _Admin, version_id: str) -> Response:
        body = await desk.body(request, ChangeBody)
        check(version_id)
        identity = desk.new_id("promote", body.id)
        command = PromoteCommand(
            id=identity, by=caller.name, at_ms=desk.now_ms(), version=version_id, reason=body.reason
        )
        return await desk.give(request, caller, command)

    async def approval(request: Request, caller: Caller, version: str, *, approved: bool) -> Response:
        body = await desk.body(request, ChangeBody)
        check(version)
        command = ApprovalCommand(
            id=desk.new_id("approve" if approved else "reject", body.id),
            by=caller.name,
            at_ms=desk.now_ms(),
            version=version,
            approved=approved,
            reason=body.reason,
        )
        return await desk.give(request, caller, command)

    @router.post(
        "/versioning/{version_id}/approve",
        summary="Say yes to a version that waits for it",
        responses=_COMMANDED,
        openapi_extra=_takes("ChangeBody"),
    )
    async def approve(request: Request, caller: _Admin, version_id: str) -> Response:
        return await approval(request, caller, version_id, approved=True)

    @router.post(
        "/versioning/{version_id}/reject",
        summary="Say no to a version that waits for a yes",
        responses=_COMMANDED,
        openapi_extra=_takes("ChangeBody"),
    )
    async def reject(request: Request, caller: _Admin, version_id: str) -> Response:
        return await approval(request, caller, version_id, approved=False)

    @router.post(
        "/versioning/{version_id}/experiment",
        summary="Let a version answer a share of the entities (A/B); 0 ends it",
        responses=_COMMANDED,
        openapi_extra=_takes("ExperimentBody"),
    )
    async def experiment(request: Request, caller: _Admin, version_id: str) -> Response:
        body = await desk.body(request, ExperimentBody)
        check(version_id)
        command = ExperimentCommand(
            id=desk.new_id("experiment", body.id),
            by=caller.name,
            at_ms=desk.now_ms(),
            version=version_id,
            share=body.share,
            reason=body.reason,
        )
        return await desk.give(request, caller, command)

    @router.post(
        "/versioning/{model_id}/rollback",
        summary="Serve a former version again",
        responses=_COMMANDED,
        openapi_extra=_takes("RollbackBody"),
    )
    async def rollback(request: Request, caller: _Operator, model_id: str) -> Response:
        body = await desk.body(request, RollbackBody)
        _of_this_pipeline(deps, model_id)
        if body.version is not None:
            check(body.version)
        command = RollbackCommand(
            id=desk.new_id("rollback", body.id),
            by=caller.name,
            at_ms=desk.now_ms(),
            version=body.version or "",
            reason=body.reason,
        )
        return await desk.give(request, caller, command)


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
