"""``/health/live``, ``/health/ready``, ``/metrics`` and ``GET /v1/model``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from penstock.errors import LogError
from penstock.log.port import TopicPartition
from penstock.models.slot import Loaded
from serving.deps import ServingDeps
from serving.opening import Opening
from serving.problems import RETRY_AFTER_S, problem
from serving.schemas import PROBLEMS, describe_feature

LOG_ANSWERS_WITHIN_S = 2.0
AWAY: dict[int | str, dict[str, Any]] = {503: PROBLEMS[503] | {"description": "Not now; `detail` says why."}}


def health_routes(deps: ServingDeps, opening: Opening, alive: Callable[[], bool]) -> APIRouter:
    """Whether the process is worth keeping (``alive``), and worth sending requests to (``opening`` is done)."""
    router = APIRouter(tags=["operations"])

    @router.head("/health/live", include_in_schema=False)
    @router.get("/health/live", summary="Whether the process works at all", responses=AWAY)
    async def live() -> Response:
        if not alive():
            return problem(503, "a thread of this process has died; restart it")
        return Response(b'{"status":"live"}', media_type="application/json")

    @router.head("/health/ready", include_in_schema=False)
    @router.get("/health/ready", summary="Whether requests can be answered", responses=AWAY)
    async def ready() -> Response:
        retry = {"Retry-After": str(RETRY_AFTER_S)}
        if not alive():
            return problem(503, "model swaps are not followed any more; restart this process", headers=retry)
        if opening.why is not None:
            return problem(503, opening.why, headers=retry)
        try:
            with anyio.fail_after(LOG_ANSWERS_WITHIN_S):
                where = TopicPartition("models", 0)
                await anyio.to_thread.run_sync(deps.log.bounds, where, abandon_on_cancel=True)
        except (LogError, TimeoutError):
            return problem(503, "the event log does not answer", headers=retry)
        return Response(b'{"status":"ready"}', media_type="application/json")

    @router.head("/metrics", include_in_schema=False)
    @router.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(deps.telemetry.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def model_routes(deps: ServingDeps) -> APIRouter:
    """What is served."""
    router = APIRouter()

    @router.head("/v1/model", include_in_schema=False)
    @router.get("/v1/model", summary="What is served now")
    async def model() -> dict[str, Any]:
        pipeline = deps.pipeline
        return {
            "pipeline": pipeline.name,
            "task": pipeline.task,
            "classes": list(pipeline.classes),
            **served(deps),
            "features": [describe_feature(feature) for feature in pipeline.features],
        }

    return router


def served(deps: ServingDeps) -> dict[str, Any]:
    """The champion (version, kind, snapshot), its generation, what is scored in its shadow, and the canary."""
    serving = deps.served.serving
    canary = serving.canary
    return {
        **_about(serving.champion),
        "generation": serving.generation,
        "shadows": [_about(shadow) for shadow in serving.shadows],
        "canary": {"version": canary.version, "share": canary.share} if canary else None,
    }


def _about(loaded: Loaded) -> dict[str, Any]:
    about = {"version": loaded.version, "kind": loaded.kind, "snapshot": loaded.snapshot}
    if not loaded.parts:
        return about
    parts = [
        {"slot": part.slot, "snapshot": part.snapshot, "offset": part.offset, "digest": part.digest}
        for part in loaded.parts
    ]
    return {**about, "parts": parts}
