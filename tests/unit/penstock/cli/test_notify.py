"""``penstock notify test``, and where alerts of each severity go."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli import notify
from penstock.cli.compose import System
from penstock.cli.context import Context
from penstock.clock import VirtualClock
from penstock.errors import UsageError
from penstock.events import Alert, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message, TopicPartition
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.settings import Settings
from penstock.spec import Numeric, Pipeline
from penstock.telemetry import Telemetry


@pytest.fixture
def hook() -> Iterator[tuple[str, list[str]]]:
    """The URL of a webhook, and the types of the messages that it got. Its path ``/no`` takes nothing."""
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["type"])
            self.send_response(404 if self.path.startswith("/no") else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def settings(**urls: str) -> Settings:
    return Settings(_env_file=None, **{f"notify_{name}": url for name, url in urls.items()})  # type: ignore[arg-type]


def run(chosen: Settings, *arguments: str) -> Any:
    app = typer.Typer()
    app.add_typer(notify.app, name="notify")

    @app.callback()
    def root(ctx: typer.Context) -> None:
        ctx.obj = Context(chosen, Path("none.py"), as_json=True)

    return CliRunner().invoke(app, ["notify", "test", *arguments])


def test_a_severity_without_urls_of_its_own_goes_to_the_common_ones_but_info_does_not() -> None:
    routes = notify.routes_of(settings(urls="json://a", critical_urls="json://b,json://c"))
    assert {severity: len(targets) for severity, targets in routes.items()} == {"info": 0, "warning": 1, "critical": 2}
    assert all(not targets for targets in notify.routes_of(settings()).values())


def test_a_test_message_goes_to_everybody_of_a_severity(hook: tuple[str, list[str]]) -> None:
    url, got = hook
    result = run(settings(urls=url, info_urls=f"{url}/info"))
    assert result.exit_code == 0
    assert [(row["severity"], row["taken"]) for row in json.loads(result.output)] == [
        ("info", True),
        ("warning", True),
        ("critical", True),
    ]
    assert got == ["info", "warning", "failure"]
    assert run(settings(urls=url), "--severity", "critical").exit_code == 0
    assert got[3:] == ["failure"]


def test_a_message_that_is_not_taken_is_exit_1_and_says_why(hook: tuple[str, list[str]]) -> None:
    url, _ = hook
    result = run(settings(critical_urls=f"{url}/no"), "--severity", "critical")
    assert result.exit_code == 1
    (row,) = json.loads(result.output)
    assert not row["taken"]
    assert "404" in row["why"]


@pytest.mark.parametrize(
    ("urls", "arguments"), [({}, []), ({}, ["--severity", "critical"]), ({"urls": "json://a"}, ["--severity", "loud"])]
)
def test_nobody_to_tell_or_no_such_severity_is_bad_usage(urls: dict[str, str], arguments: list[str]) -> None:
    assert isinstance(run(settings(**urls), *arguments).exception, UsageError)


def test_alerts_are_sent_only_while_this_process_holds_the_role(hook: tuple[str, list[str]]) -> None:
    url, got = hook
    clock = VirtualClock(1_000_000)
    log = MemoryLog(clock, topic_configs(1))
    pipeline = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))
    artifacts = MemoryArtifacts(Signer(b"0123456789abcdef"))
    ports = (log, artifacts, MemoryCheckpoints(), lambda: EverySnapshot(artifacts), clock, Telemetry())
    alert = Alert(id="a", severity="critical", title="t", detail="d", at_ms=0, source="s")
    log.append([Message("alerts", b"a", encode(alert))])
    held, stop = threading.Event(), threading.Event()
    asked: list[bool] = []

    def tells() -> bool:
        asked.append(held.is_set())
        return held.is_set()

    routes = notify.routes_of(settings(urls=url))
    thread = threading.Thread(target=notify.notified, args=(System(pipeline, *ports), routes, tells, stop))
    thread.start()
    try:
        until(lambda: bool(asked))
        assert got == []
        held.set()
        until(lambda: bool(got))
    finally:
        stop.set()
        thread.join()
    assert got == ["failure"]
    assert log.bounds(TopicPartition("notifications", 0)).end == 1


def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_urls_are_masked_in_settings() -> None:
    assert "hunter2" not in repr(settings(urls="json://u:hunter2@a"))
