"""The test broker itself: shared by the processes of a run, gone when nobody uses it, however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker import jars
from tests.broker.jars import java_version
from tests.broker.java import JavaBroker, answers, free_port
from tests.broker.shared import Kafka

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.system


def wait_until(holds: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.05)


def test_the_run_has_a_broker(kafka: Kafka) -> None:
    assert answers(kafka.bootstrap)


def test_a_broker_can_be_killed_and_started_again_on_the_same_data(own_broker: Callable[[], JavaBroker]) -> None:
    from kafka import KafkaAdminClient

    broker = own_broker()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics({"kept": {"num_partitions": 2, "replication_factor": 1}})
    admin.close()
    broker.kill()
    assert not answers(broker.bootstrap)
    broker.start()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    assert "kept" in admin.list_topics()
    admin.close()


HOLDER = """
import sys, time
from pathlib import Path
from tests.broker.shared import lease
with lease(Path(sys.argv[1])) as broker:
    print(broker.bootstrap, flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_share_a_broker_that_ends_with_the_last_even_if_killed(
    own_broker: Callable[[], JavaBroker], tmp_path: Path
) -> None:
    first, second = holder(tmp_path / "run"), holder(tmp_path / "run")
    try:
        assert first.stdout is not None
        assert second.stdout is not None
        bootstrap = first.stdout.readline().strip()
        assert second.stdout.readline().strip() == bootstrap
        first.communicate("")
        assert answers(bootstrap)
    finally:
        first.kill()
        second.send_signal(signal.SIGKILL)
        second.communicate()
        first.communicate()
    wait_until(lambda: not answers(bootstrap))


STARTER = """
import sys
from pathlib import Path
from tests.broker.java import JavaBroker
broker = JavaBroker(Path(sys.argv[1]))
broker.start()
print(broker.bootstrap, flush=True)
sys.stdin.read()
"""


def test_a_broker_dies_with_the_process_that_started_it(own_broker: Callable[[], JavaBroker], tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "k")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    bootstrap = starter.stdout.readline().strip()
    starter.kill()
    starter.communicate()
    wait_until(lambda: not answers(bootstrap))


def test_a_person_gets_a_broker_that_ends_with_ctrl_c(own_broker: Callable[[], JavaBroker], tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.broker"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KAFKA_PORT": str(port)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert f"localhost:{port}" in process.stdout.readline()
    assert answers(f"localhost:{port}")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 0
    assert not answers(f"localhost:{port}")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 1),
        ('openjdk version "21" 2023-09-19', 21),
        ("", 0),
    ],
)
def test_the_version_of_java_is_read(said: str, version: int) -> None:
    assert java_version(said) == version


MVN = """#!/bin/sh
echo try >> "$0.tries"
[ "$(wc -l < "$0.tries")" -ge {needed} ] || {{ echo "[ERROR] no route to the repository"; exit 1; }}
for last in "$@"; do :; done
mkdir -p "${{last#-DoutputDirectory=}}"
"""


@pytest.mark.parametrize(("needed", "had"), [(2, True), (9, False)])
def test_jars_are_fetched_again_when_a_download_fails(
    needed: int, had: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mvn = tmp_path / "bin" / "mvn"
    mvn.parent.mkdir()
    mvn.write_text(MVN.format(needed=needed))
    mvn.chmod(0o755)
    monkeypatch.setenv("PATH", str(mvn.parent), prepend=":")
    monkeypatch.setenv("PENSTOCK_KAFKA_JARS", str(tmp_path / "jars"))
    monkeypatch.setattr(jars, "TRIES_S", (0.0, 0.0, 0.0))
    if had:
        assert (jars.jars() / "complete").is_file()
        assert jars.jars() == tmp_path / "jars"
        assert (tmp_path / "bin" / "mvn.tries").read_text() == "try\n" * 2
    else:
        with pytest.raises(jars.NoBrokerError, match="no route to the repository"):
            jars.jars()
        assert [path.name for path in tmp_path.iterdir()] == ["bin"]
