"""The start-up of docker-compose.yml, its order and commands, as plain processes on a real broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from penstock.topology import STAGES
from tests.broker.java import free_port
from tests.broker.shared import Kafka
from tests.packaging.compose_file import ROOT, compose, start_order, waits
from tests.system.processes import kill_session, penstock, start, wait_for

pytestmark = pytest.mark.system

START_TIMEOUT_S = 120.0
#: What the file gives a role before it is killed; all stop at the same time, on two cores here.
STOP_TIMEOUT_S = 30.0
APPLICATION = {
    "salary": 60_000,
    "commission": 0,
    "age": 30,
    "elevel": "2",
    "car": "4",
    "zipcode": "1",
    "hvalue": 300_000,
    "hyears": 12,
    "loan": 200_000,
}


class Up(NamedTuple):
    """What runs: ``environment`` is that of the services, for further commands; ``probes`` the roles' ports."""

    folder: Path
    pipeline: Path
    processes: dict[str, subprocess.Popen[bytes]]
    environment: dict[str, str]
    probes: dict[str, str]

    @property
    def url(self) -> str:
        return (self.folder / "state" / "serving.url").read_text().strip()

    def said(self) -> str:
        """The last lines of every process."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text().splitlines()[-15:])
            for path in sorted(self.folder.glob("*.out"))
        )


def environment_of(service: dict[str, Any], kafka: Kafka, folder: Path) -> dict[str, str]:
    """The service's own environment, where containers differ from processes on one machine: addresses and folders."""
    said: dict[str, str] = service["environment"]
    assert said["PENSTOCK_LOG"] == "kafka://kafka:9092"
    here = {"PENSTOCK_LOG": f"kafka://{kafka.bootstrap}", "PENSTOCK_DATA_DIR": str(folder / "state")}
    here |= {"PENSTOCK_HOST": "127.0.0.1", "PENSTOCK_PORT": "0", "PENSTOCK_PROBE_PORT": str(free_port())}
    return said | here


@pytest.fixture(scope="module")
def up(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Every service after those that it waits for; the one-shot of topics has ended well before the roles start."""
    folder = tmp_path_factory.mktemp("compose")
    name = f"credit-{uuid.uuid4().hex[:8]}"
    pipeline = folder / "credit.py"
    pipeline.write_text((ROOT / "pipelines" / "credit.py").read_text().replace('name="credit"', f'name="{name}"'))
    services = compose({"PENSTOCK_PIPELINE": str(pipeline)})["services"]
    running = Up(folder, pipeline, {}, environment_of(services["scorer"], kafka, folder), {})
    try:
        for service in start_order(services):
            if service != "kafka":  # the broker of the run takes its place
                _start(running, service, services, kafka)
        yield running
    finally:
        for process in running.processes.values():
            if process.poll() is None:
                kill_session(process)


def _start(running: Up, name: str, services: dict[str, Any], kafka: Kafka) -> None:
    service = services[name]
    environment = environment_of(service, kafka, running.folder)
    if "service_completed_successfully" in {waits(other).get(name) for other in services.values()}:
        done = penstock(*service["command"], cwd=running.folder, **environment)
        assert done.returncode == 0, done.stderr
        return
    output = running.folder / f"{name}.out"
    running.probes[name] = environment["PENSTOCK_PROBE_PORT"]
    running.processes[name] = start(*service["command"], cwd=running.folder, output=output, **environment)


def _post(url: str, body: object) -> tuple[int, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
        return answer.status, json.loads(answer.read() or b"null")


def _healthy(up: Up) -> bool:
    """What the health check of serving asks."""
    try:
        with urllib.request.urlopen(f"{up.url}/health/ready", timeout=4) as answer:  # noqa: S310 - ours
            return bool(answer.status == 200)
    except OSError:
        return False


def _follow(up: Up, topic: str) -> Path:
    """The file that a topic's records are written to as they come, until the processes of `up` end."""
    arguments = ["--pipeline", str(up.pipeline), "events", "tail", topic, "--follow"]
    output = up.folder / f"{topic}.out"
    up.processes[f"tail of {topic}"] = start(*arguments, cwd=up.folder, output=output, **up.environment)
    return output


def test_a_request_is_answered_and_its_label_becomes_an_example(up: Up) -> None:
    try:
        wait_for(lambda: _healthy(up), "serving is healthy", START_TIMEOUT_S, up.processes["serving"])
        status, answer = _post(f"{up.url}/v1/predict", {"id": "first", "features": APPLICATION})
        assert status == 200
        assert 0 <= answer["score"] <= 1
        assert _post(f"{up.url}/v1/labels", {"id": "first", "value": "1"})[0] == 202
        examples = _follow(up, "examples")
        wait_for(lambda: '"id":"first"' in examples.read_text(), "the example", START_TIMEOUT_S)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{up.said()}") from error
    ended = {name: process.returncode for name, process in up.processes.items() if process.poll() is not None}
    assert not ended, up.said()


@pytest.mark.parametrize("name", sorted(set(STAGES) - {"serving"}))
def test_a_role_is_healthy_by_its_own_check(name: str, up: Up) -> None:
    *_, code = compose()["services"][name]["healthcheck"]["test"]
    code = code.replace(":9100/", f":{up.probes[name]}/")

    def healthy() -> bool:
        return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0

    try:
        wait_for(healthy, f"{name} is healthy", START_TIMEOUT_S, up.processes[name])
    except AssertionError as error:
        raise AssertionError(f"{error}\n{up.said()}") from error
    with urllib.request.urlopen(f"http://127.0.0.1:{up.probes[name]}/metrics", timeout=4) as answer:
        assert b"penstock_records_total" in answer.read()


def test_doctor_finds_nothing_wrong(up: Up) -> None:
    done = penstock("--pipeline", str(up.pipeline), "doctor", cwd=up.folder, **up.environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_starting_the_topics_again_changes_nothing(up: Up) -> None:
    services = compose({"PENSTOCK_PIPELINE": str(up.pipeline)})["services"]
    done = penstock(*services["topics"]["command"], cwd=up.folder, **up.environment)
    assert done.returncode == 0, done.stderr


def test_everything_stops_when_asked(up: Up) -> None:
    begun = time.monotonic()
    for process in up.processes.values():
        process.send_signal(signal.SIGTERM)
    for name, process in up.processes.items():
        try:
            code = process.wait(max(0.1, STOP_TIMEOUT_S - (time.monotonic() - begun)))
        except subprocess.TimeoutExpired:
            pytest.fail(f"{name} did not stop within {STOP_TIMEOUT_S} s\n{up.said()}")
        assert code == 0, f"{name}\n{up.said()}"
    assert all("Traceback" not in path.read_text() for path in up.folder.glob("*.out")), up.said()
