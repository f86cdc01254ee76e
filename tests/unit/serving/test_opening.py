"""Serving that starts while the log is away: it says so, waits, and then misses nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from penstock.clock import SystemClock
from penstock.errors import LogError, LogUnavailableError
from penstock.runtime.patience import Patience
from serving.app import run_server
from tests.unit.serving.stand import FEATURES, Stand, score_of


class AwayLog:
    """A log whose calls of ``names`` fail with ``error`` as long as there is one."""

    def __init__(self, log: Any, error: Exception | None, *names: str) -> None:
        self._log, self._names, self.error = log, names, error
        self.refused = threading.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._log, name)
        if name not in self._names:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            if self.error is not None:
                self.refused.set()
                raise self.error
            return found(*arguments, **named)

        return call


class Served:
    """A server in a thread: ``url`` before it is ready, ``announced`` once it is, ``raised`` when it ended."""

    def __init__(self, stand: Stand, log: Any, deadline_s: float) -> None:
        self.stop, self.announced = threading.Event(), threading.Event()
        self.raised: list[BaseException] = []
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        deps = replace(stand.deps, log=log)
        patience = Patience(SystemClock(), self._pause, deadline_s)

        def run() -> None:
            try:
                run_server(
                    deps,
                    "127.0.0.1",
                    httpx.URL(self.url).port or 0,
                    lambda _: self.announced.set(),
                    self.stop,
                    patience,
                )
            except BaseException as error:  # noqa: BLE001 - looked at by the test
                self.raised.append(error)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def _pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise SystemExit(0)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(stand: Stand, log: Any, deadline_s: float = 60.0) -> Iterator[Served]:
    server = Served(stand, log, deadline_s)
    try:
        yield server
    finally:
        server.stop.set()
        server.thread.join(10)
        assert not server.thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(server: Served) -> bool:
    try:
        server.get("/health/live")
    except httpx.TransportError:
        return False
    return True


@pytest.mark.parametrize("call", ["partitions", "bounds", "read", "tail"])
def test_until_the_log_is_there_readiness_says_why_not_and_nothing_is_scored(call: str, stand: Stand) -> None:
    stand.champion("v1", 1)
    log = AwayLog(stand.log, LogUnavailableError("kafka at b:9092: cannot be reached; is the broker up?"), call)
    with served(stand, log) as server:
        until(lambda: answers(server))
        assert server.get("/health/live").status_code == 200
        ready = server.get("/health/ready")
        assert (ready.status_code, ready.json()["detail"]) == (503, str(log.error))
        assert ready.headers["retry-after"] == "1"
        asked = httpx.post(f"{server.url}/v1/predict", json={"features": FEATURES})
        assert (asked.status_code, asked.json()["detail"]) == (503, str(log.error))
        assert server.get("/metrics").status_code == 200
        assert not server.announced.is_set()

        log.error = None
        assert server.announced.wait(10)
        assert server.get("/health/ready").json() == {"status": "ready"}
        answer = httpx.post(f"{server.url}/v1/predict", json={"features": FEATURES}).json()
        assert (answer["version"], answer["score"]) == ("v1", score_of("v1"))
    assert not server.raised


def test_a_log_that_refuses_ends_serving_with_its_own_line(stand: Stand) -> None:
    refusal = LogError("kafka at b:9092: looking up models was refused for user eve; check the credentials")
    with served(stand, AwayLog(stand.log, refusal, "partitions")) as server:
        server.thread.join(10)
        assert server.raised == [refusal]


def test_a_log_that_stays_away_ends_serving_when_patience_ends(stand: Stand) -> None:
    away = LogUnavailableError("away")
    with served(stand, AwayLog(stand.log, away, "bounds"), deadline_s=0.3) as server:
        server.thread.join(10)
        assert server.raised == [away]


def test_a_stop_ends_the_wait_for_the_log(stand: Stand) -> None:
    log = AwayLog(stand.log, LogUnavailableError("away"), "bounds")
    with served(stand, log) as server:
        assert log.refused.wait(10)
        told = time.monotonic()
        server.stop.set()
        server.thread.join(10)
        assert time.monotonic() - told < 3
    assert all(isinstance(error, SystemExit) for error in server.raised)


def test_an_outage_while_it_runs_is_told_once_and_survived(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    polls = AwayLog(stand.log, None)

    class Tails(AwayLog):
        def tail(self, *arguments: Any, **named: Any) -> AwayLog:
            made = AwayLog(stand.log.tail(*arguments, **named), None, "poll")
            tails.append(made)
            return made

    tails: list[AwayLog] = []
    with served(stand, Tails(polls, None)) as server:
        assert server.announced.wait(10)
        for tail in tails:
            tail.error = LogUnavailableError("away")
        assert all(tail.refused.wait(10) for tail in tails)
        time.sleep(0.3)
        stand.champion("v2", 2)
        for tail in tails:
            tail.error = None
        until(lambda: bool(server.get("/v1/model").json()["version"] == "v2"))
    said = capsys.readouterr().out
    assert said.count("trying again") == 2, said
    assert said.count("log available again") == 2
