"""What people and CI systems ask for: a table of routes, each of which makes one command of its request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from penstock.events import (
    ApprovalCommand,
    CancelCommand,
    Command,
    ExperimentCommand,
    PauseCommand,
    PromoteCommand,
    RetrainCommand,
    RollbackCommand,
)
from serving.access import needs
from serving.answers import CancelBody, ChangeBody, CreateBody, ExperimentBody, RollbackBody, StartBody
from serving.deps import ServingDeps
from serving.desk import Desk
from serving.documented import COMMANDED, takes
from serving.named import check_model, known_version
from serving.overview import Overview
from serving.roles import Role

VERSION, MODEL = "{version_id}", "{model_id}"


class _Asked(NamedTuple):
    """What every command says: its id, who gave it, when, and why."""

    id: str
    by: str
    at_ms: int
    reason: str


class _Change(NamedTuple):
    """A route: ``command`` makes its command of what was asked, the body and what the path names ("": nothing).

    ``verb`` begins the ids of commands that the client gave none.
    """

    name: str
    path: str
    summary: str
    role: Role
    verb: str
    body: type[ChangeBody]
    command: Callable[[_Asked, Any, str], Command]


def _retrain(asked: _Asked, _body: StartBody, _subject: str) -> Command:
    return RetrainCommand(**asked._asdict())


def _create(asked: _Asked, body: CreateBody, _subject: str) -> Command:
    reason = "; ".join(part for part in (body.note, asked.reason) if part)
    return RetrainCommand(**asked._replace(reason=reason)._asdict())


def _start(asked: _Asked, _body: ChangeBody, _subject: str) -> Command:
    return PauseCommand(**asked._asdict(), paused=False)


def _stop(asked: _Asked, _body: ChangeBody, _subject: str) -> Command:
    return PauseCommand(**asked._asdict(), paused=True)


def _cancel(asked: _Asked, body: CancelBody, _subject: str) -> Command:
    return CancelCommand(**asked._asdict(), run_id=body.run_id or "")


def _promote(asked: _Asked, _body: ChangeBody, version: str) -> Command:
    return PromoteCommand(**asked._asdict(), version=version)


def _approve(asked: _Asked, _body: ChangeBody, version: str) -> Command:
    return ApprovalCommand(**asked._asdict(), version=version, approved=True)


def _reject(asked: _Asked, _body: ChangeBody, version: str) -> Command:
    return ApprovalCommand(**asked._asdict(), version=version, approved=False)


def _experiment(asked: _Asked, body: ExperimentBody, version: str) -> Command:
    return ExperimentCommand(**asked._asdict(), version=version, share=body.share)


def _rollback(asked: _Asked, body: RollbackBody, _model: str) -> Command:
    return RollbackCommand(**asked._asdict(), version=body.version or "")


# fmt: off
CHANGES = (
    _Change("run_pipeline", "/cicd/run-pipeline",
            "Run the whole pipeline: collect, fit, gate, register, roll out",
            "operator", "retrain", StartBody, _retrain),
    _Change("trigger", "/retraining/trigger",
            "Start a run now, on the newest labelled rows", "operator", "retrain", StartBody, _retrain),
    _Change("create_version", "/versioning/create-version",
            "A run under a note, whose version (if it passes the gates) keeps it",
            "operator", "retrain", CreateBody, _create),
    _Change("start", "/retraining/start",
            "Let retraining start by itself again", "operator", "resume", ChangeBody, _start),
    _Change("stop", "/retraining/stop",
            "Pause whatever starts retraining by itself; people still may", "operator", "pause", ChangeBody, _stop),
    _Change("cancel", "/retraining/cancel",
            "End the run that is going on", "operator", "cancel", CancelBody, _cancel),
    _Change("promote", f"/versioning/{VERSION}/promote-to-production",
            "Let a registered version serve", "admin", "promote", ChangeBody, _promote),
    _Change("approve", f"/versioning/{VERSION}/approve",
            "Say yes to a version that waits for it", "admin", "approve", ChangeBody, _approve),
    _Change("reject", f"/versioning/{VERSION}/reject",
            "Say no to a version that waits for a yes", "admin", "reject", ChangeBody, _reject),
    _Change("experiment", f"/versioning/{VERSION}/experiment",
            "Let a version answer a share of the entities (A/B); 0 ends it",
            "admin", "experiment", ExperimentBody, _experiment),
    _Change("rollback", f"/versioning/{MODEL}/rollback",
            "Serve a former version again", "operator", "rollback", RollbackBody, _rollback),
)
# fmt: on


def change_routes(router: APIRouter, deps: ServingDeps, desk: Desk, overview: Overview) -> None:
    """Add the routes that change something to ``router``."""
    for change in CHANGES:
        router.add_api_route(
            change.path,
            _endpoint(deps, desk, overview, change),
            methods=["POST"],
            name=change.name,
            summary=change.summary,
            responses=COMMANDED,
            openapi_extra=takes(change.body.__name__),
            dependencies=[Depends(needs(change.role))],
        )


def _endpoint(deps: ServingDeps, desk: Desk, overview: Overview, change: _Change) -> Callable[..., Any]:
    async def give(request: Request, subject: str = "") -> Response:
        body = await desk.body(request, change.body)
        _check(deps, overview, change, body, subject)
        caller = request.state.caller
        asked = _Asked(desk.new_id(change.verb, body.id), caller.name, desk.now_ms(), body.reason)
        return await desk.give(request, caller, change.command(asked, body, subject))

    # FastAPI reads the names of a path's parts off the signature.
    async def alone(request: Request) -> Response:
        return await give(request)

    async def of_version(request: Request, version_id: str) -> Response:
        return await give(request, version_id)

    async def of_model(request: Request, model_id: str) -> Response:
        return await give(request, model_id)

    return of_version if VERSION in change.path else of_model if MODEL in change.path else alone


def _check(deps: ServingDeps, overview: Overview, change: _Change, body: ChangeBody, subject: str) -> None:
    """Raise ``HTTPException`` 404 where path or body name a model, version or run that there is not."""
    if MODEL in change.path:
        check_model(deps, subject)
    if isinstance(body, StartBody):
        check_model(deps, body.model_id)
    versions = [subject] if VERSION in change.path else []
    if isinstance(body, RollbackBody) and body.version is not None:
        versions.append(body.version)
    with overview.lock:
        for version in versions:
            known_version(overview, version)
        if isinstance(body, CancelBody) and body.run_id is not None and body.run_id not in overview.history.runs:
            raise HTTPException(404, f"no run {body.run_id[:80]!r}; `cicd/pipeline-history` lists those there are")
