from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from penstock.cli.probes import answer, probes
from penstock.clock import VirtualClock
from penstock.errors import DependencyError
from penstock.runtime.pulse import LIVE_WITHIN_S, Pulse
from penstock.telemetry import CounterName, Telemetry


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def pulse(clock: VirtualClock) -> Pulse:
    made = Pulse(clock)
    made.heard("start", None)
    return made


@pytest.fixture
def url(pulse: Pulse) -> Iterator[str]:
    with probes("127.0.0.1", 0, pulse, Telemetry()) as port:
        yield f"http://127.0.0.1:{port}"


def get(url: str, method: str = "GET") -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, method=method)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=10) as found:  # noqa: S310 - ours
            return found.status, found.headers["Content-Type"], found.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


def test_a_process_that_gets_on_is_live_and_ready(url: str) -> None:
    assert get(f"{url}/health/live") == (200, "application/json", b'{"status":"live"}')
    assert get(f"{url}/health/ready?by=kubelet") == (200, "application/json", b'{"status":"ready"}')
    assert get(f"{url}/health/live", "HEAD") == (200, "application/json", b"")


def test_one_that_waits_is_live_and_says_why_it_is_not_ready(url: str, pulse: Pulse) -> None:
    pulse.heard("poll", "kafka at b:9092: cannot be reached")
    assert get(f"{url}/health/live")[0] == 200
    status, kind, body = get(f"{url}/health/ready")
    assert (status, kind) == (503, "application/problem+json")
    assert json.loads(body)["detail"] == "kafka at b:9092: cannot be reached"


def test_one_that_hangs_is_not_live(url: str, clock: VirtualClock) -> None:
    clock.advance_s(LIVE_WITHIN_S + 1)
    status, _, body = get(f"{url}/health/live")
    assert status == 503
    assert "restart it" in json.loads(body)["detail"]


def test_its_metrics_are_those_of_the_process(pulse: Pulse) -> None:
    telemetry = Telemetry()
    telemetry.count(CounterName.COMMITS, 3, stage="learner")
    found = answer("/metrics", pulse, telemetry)
    assert found.status == 200
    assert b'penstock_commits_total{stage="learner"} 3.0' in found.body


def test_other_paths_are_not_there(url: str) -> None:
    assert get(f"{url}/v1/predict")[0] == 404


def test_an_address_that_is_taken_is_one_clear_line(pulse: Pulse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(DependencyError, match=f"127.0.0.1:{port}: cannot listen .* PENSTOCK_PROBE_PORT"),
            probes("127.0.0.1", port, pulse, Telemetry()),
        ):
            pass
