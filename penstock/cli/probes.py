"""``/health/live``, ``/health/ready`` and ``/metrics`` of a process that runs stream roles, for whoever watches it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from penstock.errors import DependencyError
from penstock.runtime.pulse import LIVE_WITHIN_S, Pulse
from penstock.telemetry import Telemetry

JSON, PROBLEM = "application/json", "application/problem+json"
READ_WITHIN_S = 5.0


class Answer(NamedTuple):
    """What a path is answered with."""

    status: int
    media_type: str
    body: bytes


def answer(path: str, pulse: Pulse, telemetry: Telemetry) -> Answer:
    """The answer to a GET of ``path``; 503 says in its ``detail`` what is wrong."""
    match path:
        case "/health/live":
            hangs = None if pulse.live else f"nothing was heard of the roles for {LIVE_WITHIN_S:.0f} s; restart it"
            return _health("live", hangs)
        case "/health/ready":
            return _health("ready", pulse.waits_for)
        case "/metrics":
            return Answer(200, CONTENT_TYPE_LATEST, generate_latest(telemetry.registry))
    return _problem(404, "there are /health/live, /health/ready and /metrics")


def _health(status: str, problem: str | None) -> Answer:
    return Answer(200, JSON, msgspec.json.encode({"status": status})) if problem is None else _problem(503, problem)


def _problem(status: int, detail: str) -> Answer:
    return Answer(status, PROBLEM, msgspec.json.encode({"type": "about:blank", "status": status, "detail": detail}))


@contextmanager
def probes(host: str, port: int, pulse: Pulse, telemetry: Telemetry) -> Iterator[int]:
    """Answer on ``host:port`` (0: any free port, which is yielded) from threads of its own.

    Raises:
        DependencyError: the address is in use or not ours.
    """

    class Handler(BaseHTTPRequestHandler):
        """GET and HEAD; whoever sends nothing is let go of."""

        timeout = READ_WITHIN_S

        def do_GET(self) -> None:
            given = answer(self.path.partition("?")[0], pulse, telemetry)
            self.send_response(given.status)
            self.send_header("Content-Type", given.media_type)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(given.body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds: no line for each."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise DependencyError(
            f"{host}:{port}: cannot listen there ({error.strerror}); choose another PENSTOCK_PROBE_PORT"
        ) from error
    server.daemon_threads = True
    with server:
        threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
