"""The live page: static files with a strict content policy, and the overview that feeds it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, HTTPException, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from serving.deps import ServingDeps
from serving.feed import Feed
from serving.health import served
from serving.overview import Overview
from serving.streams import RECONNECT_MS, Clients

#: The page needs nothing but itself; what it shows comes from outside and can never become code.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
UPLOT = "vendor/uplot-1.6.32"
ASSETS = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "chart.js": "text/javascript",
    "panels.js": "text/javascript",
    "elements.js": "text/javascript",
    "evidence.js": "text/javascript",
    "lanes.js": "text/javascript",
    "manage.js": "text/javascript",
    "format.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    f"{UPLOT}/uPlot.iife.min.js": "text/javascript",
    f"{UPLOT}/uPlot.min.css": "text/css",
    f"{UPLOT}/LICENSE": "text/plain",
}
#: The page is updated at most this often, and at least every second for the rates.
UPDATE_S = 0.5
IDLE_S = 0.25
PULSE_S = 1.0


def page_routes(
    deps: ServingDeps, feed: Feed, overview: Overview, clients: Clients, management: str, stopping: Callable[[], bool]
) -> APIRouter:
    """``/``, its assets, ``/v1/dashboard`` and ``/v1/dashboard/stream``. ``management``: how changes are let in."""
    router = APIRouter()
    folder = files("serving") / "dashboard"
    contents = {name: (folder / name).read_bytes() for name in ("index.html", *ASSETS)}
    run = secrets.token_hex(4)  # revisions count from this start of the process; another one's mean nothing here

    def changes(since: int) -> dict[str, Any]:
        now_ms = deps.clock.now_ms()
        about = {"pipeline": deps.pipeline.name, "task": deps.pipeline.task, "timed": deps.pipeline.time is not None}
        about["management"] = management
        return {"run": run, "since": since, **about, "served": served(deps), **overview.changes(since, now_ms)}

    @router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return Response(contents["index.html"], media_type="text/html", headers=PAGE_HEADERS)

    @router.get("/assets/{name:path}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404)
        return Response(contents[name], media_type=ASSETS[name], headers=PAGE_HEADERS)

    @router.head("/v1/dashboard", include_in_schema=False)
    @router.get("/v1/dashboard", summary="Everything the live page shows")
    async def dashboard() -> Response:
        return Response(msgspec.json.encode(changes(0)), media_type="application/json")

    @router.get(
        "/v1/dashboard/stream",
        response_class=EventSourceResponse,
        dependencies=[Depends(clients.place)],
        summary="The live page's updates",
        description="Event `overview`: first all of it, then what changed since the event before.",
    )
    async def updates(
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        since = _resumed(last_event_id, run)
        sent_s = float("-inf")
        while not stopping():
            waited = deps.clock.monotonic_s() - sent_s
            if waited >= PULSE_S or (waited >= UPDATE_S and overview.revision > since):
                data = changes(since)
                since, sent_s = data["revision"], deps.clock.monotonic_s()
                encoded = msgspec.json.encode(data).decode()
                yield ServerSentEvent(raw_data=encoded, event="overview", id=f"{run}:{since}", retry=RECONNECT_MS)
            else:
                await feed.changed(IDLE_S)

    return router


def _resumed(last_event_id: str | None, run: str) -> int:
    """The revision that a reconnecting page holds; 0 (send everything) where it is not one of this process."""
    held_run, _, revision = (last_event_id or "").partition(":")
    known = held_run == run and revision.isascii() and revision.isdigit() and len(revision) < 19
    return int(revision) if known else 0
