"""What people and CI systems ask for: each route makes one command of its request."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response

from penstock.events import (
    ApprovalCommand,
    CancelCommand,
    ExperimentCommand,
    PauseCommand,
    PromoteCommand,
    RetrainCommand,
    RollbackCommand,
)
from serving.access import Admin, Operator
from serving.answers import CancelBody, ChangeBody, CreateBody, ExperimentBody, RollbackBody, StartBody
from serving.deps import ServingDeps
from serving.desk import Desk
from serving.documented import COMMANDED, takes
from serving.named import check_model, known_version
from serving.overview import Overview
from serving.roles import Caller


def run_routes(router: APIRouter, deps: ServingDeps, desk: Desk, overview: Overview) -> None:
    """Add the routes that change runs, and what starts them, to ``router``."""

    async def retrain(request: Request, caller: Caller, body: StartBody, reason: str) -> Response:
        check_model(deps, body.model_id)
        identity = desk.new_id("retrain", body.id)
        return await desk.give(
            request, caller, RetrainCommand(id=identity, by=caller.name, at_ms=desk.now_ms(), reason=reason)
        )

    @router.post(
        "/cicd/run-pipeline",
        summary="Run the whole pipeline: collect, fit, gate, register, roll out",
        responses=COMMANDED,
        openapi_extra=takes("StartBody"),
    )
    async def run_pipeline(request: Request, caller: Operator) -> Response:
        body = await desk.body(request, StartBody)
        return await retrain(request, caller, body, body.reason)

    @router.post(
        "/retraining/trigger",
        summary="Start a run now, on the newest labelled rows",
        responses=COMMANDED,
        openapi_extra=takes("StartBody"),
    )
    async def trigger(request: Request, caller: Operator) -> Response:
        body = await desk.body(request, StartBody)
        return await retrain(request, caller, body, body.reason)

    @router.post(
        "/versioning/create-version",
        summary="A run under a note, whose version (if it passes the gates) keeps it",
        responses=COMMANDED,
        openapi_extra=takes("CreateBody"),
    )
    async def create_version(request: Request, caller: Operator) -> Response:
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
        responses=COMMANDED,
        openapi_extra=takes("ChangeBody"),
    )
    async def start(request: Request, caller: Operator) -> Response:
        return await switch(request, caller, paused=False)

    @router.post(
        "/retraining/stop",
        summary="Pause whatever starts retraining by itself; people still may",
        responses=COMMANDED,
        openapi_extra=takes("ChangeBody"),
    )
    async def stop(request: Request, caller: Operator) -> Response:
        return await switch(request, caller, paused=True)

    @router.post(
        "/retraining/cancel",
        summary="End the run that is going on",
        responses=COMMANDED,
        openapi_extra=takes("CancelBody"),
    )
    async def cancel(request: Request, caller: Operator) -> Response:
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


def version_routes(router: APIRouter, deps: ServingDeps, desk: Desk, overview: Overview) -> None:
    """Add the routes that change which version serves to ``router``."""

    def check(version: str) -> None:
        with overview.lock:
            known_version(overview, version)

    @router.post(
        "/versioning/{version_id}/promote-to-production",
        summary="Let a registered version serve",
        responses=COMMANDED,
        openapi_extra=takes("ChangeBody"),
    )
    async def promote(request: Request, caller: Admin, version_id: str) -> Response:
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
        responses=COMMANDED,
        openapi_extra=takes("ChangeBody"),
    )
    async def approve(request: Request, caller: Admin, version_id: str) -> Response:
        return await approval(request, caller, version_id, approved=True)

    @router.post(
        "/versioning/{version_id}/reject",
        summary="Say no to a version that waits for a yes",
        responses=COMMANDED,
        openapi_extra=takes("ChangeBody"),
    )
    async def reject(request: Request, caller: Admin, version_id: str) -> Response:
        return await approval(request, caller, version_id, approved=False)

    @router.post(
        "/versioning/{version_id}/experiment",
        summary="Let a version answer a share of the entities (A/B); 0 ends it",
        responses=COMMANDED,
        openapi_extra=takes("ExperimentBody"),
    )
    async def experiment(request: Request, caller: Admin, version_id: str) -> Response:
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
        responses=COMMANDED,
        openapi_extra=takes("RollbackBody"),
    )
    async def rollback(request: Request, caller: Operator, model_id: str) -> Response:
        body = await desk.body(request, RollbackBody)
        check_model(deps, model_id)
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
