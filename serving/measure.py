"""Counts and times every HTTP request by its route, and refuses what other web sites send."""

from __future__ import annotations

from anyio import BrokenResourceError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.clock import Clock
from penstock.telemetry import CounterName, HistogramName, Telemetry
from serving.problems import problem


class Measure:
    """An ASGI layer around the app; streams count when they end."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, clock: Clock) -> None:
        self._app, self._telemetry, self._clock = app, telemetry, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its route is known once it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = self._clock.monotonic_s()
        status = 0
        streamed = False

        async def noted(message: Message) -> None:
            nonlocal status, streamed
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
                streamed = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
            await send(message)

        try:
            if scope["method"] == "POST" and _from_another_site(scope):
                await problem(403, "requests from other web sites are refused")(scope, receive, noted)
            else:
                await self._app(scope, receive, noted)
        except* BrokenResourceError:  # the reader of a stream has left while FastAPI's own task was handing on an event
            if not streamed:
                raise
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._telemetry.count(CounterName.HTTP_REQUESTS, route=route, status=str(status or 499))
            if not streamed:
                self._telemetry.observe(HistogramName.HTTP_SECONDS, self._clock.monotonic_s() - began_s, route=route)


def _from_another_site(scope: Scope) -> bool:
    """Whether a browser says so: it would write into a log on the reader's machine on behalf of any page."""
    return any(name == b"sec-fetch-site" and value in {b"cross-site", b"same-site"} for name, value in scope["headers"])
