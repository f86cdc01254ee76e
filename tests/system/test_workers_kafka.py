"""`penstock run` on Kafka, as if on two machines: own data directories, a shared store, one cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka import LibrdkafkaLog
from penstock.log.port import TopicPartition
from penstock.models.artifact import Signer
from penstock.runtime.checkpoint import DirectoryCheckpoints
from tests.broker.java import JavaBroker, free_port
from tests.system.labelled import labelled, spec
from tests.system.processes import penstock, start, wait_for

pytestmark = pytest.mark.system

KEY = "one key for both machines"


class Cluster:
    """A pipeline of its own on the shared broker."""

    def __init__(self, folder: Path, bootstrap: str, partitions: int) -> None:
        self.folder, self.name = folder, f"workers-{uuid.uuid4().hex[:8]}"
        self.url = f"kafka://{bootstrap}"
        (folder / "pipeline.py").write_text(spec(self.name, partitions))
        self.log = LibrdkafkaLog(KafkaOptions(bootstrap=bootstrap, pipeline=self.name))
        self.processes: list[subprocess.Popen[bytes]] = []

    def arguments(self, machine: str) -> tuple[str, ...]:
        return ("--pipeline", "pipeline.py", "--data-dir", str(self.folder / machine), "--log", self.url)

    def learner(self, machine: str, client: str) -> subprocess.Popen[bytes]:
        """Start a learner on ``client``; its output is in ``<machine>.txt``."""
        process = start(
            *self.arguments(machine),
            "run",
            "learner",
            cwd=self.folder,
            output=self.folder / f"{machine}.txt",
            PENSTOCK_STORE_URL=f"file://{self.folder}/shared",
            PENSTOCK_SIGNING_KEY=KEY,
            PENSTOCK_KAFKA_CLIENT=client,
        )
        self.processes.append(process)
        return process

    def output(self, machine: str) -> str:
        return (self.folder / f"{machine}.txt").read_text()

    def feed(self, rows: int, partitions: tuple[int, ...]) -> dict[int, int]:
        """Append ``rows`` examples to each partition; the offsets after their last."""
        return {partition: self.log.append(labelled(partition, rows))[-1] + 1 for partition in partitions}

    def learned(self, ends: dict[int, int]) -> bool:
        group = f"{self.name}.learner"
        return all((self.log.committed(group, TopicPartition("examples", p)) or 0) >= end for p, end in ends.items())

    def checkpoints(self, partition: int) -> list[int]:
        """The offsets that the shared store holds checkpoints of, newest first."""
        store = DirectoryCheckpoints(self.folder / "shared" / self.name / "checkpoints", Signer(KEY.encode()))
        return [stored.checkpoint.offsets["examples"] for stored in store.candidates("learner", partition)]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.log.close()


@pytest.fixture
def cluster(kafka, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, kafka.bootstrap, 2)
    yield made
    made.close()


def test_roles_make_no_topics_and_say_how_they_are_made(cluster: Cluster) -> None:
    for command in (("run", "learner"), ("up",)):
        ended = penstock(*cluster.arguments("here"), *command, cwd=cluster.folder)
        assert ended.returncode == 3, ended.stderr
        assert ended.stderr.count("\n") == 1, ended.stderr
        assert "penstock topics create" in ended.stderr


@pytest.mark.parametrize("client", ["librdkafka", "kafka-python"])
def test_partitions_move_with_their_state_from_machine_to_machine(cluster: Cluster, client: str) -> None:
    made = penstock(*cluster.arguments("here"), "topics", "create", cwd=cluster.folder)
    assert made.returncode == 0, made.stderr
    here = cluster.learner("here", client)
    ends = cluster.feed(400, (0, 1))
    wait_for(lambda: cluster.learned(ends), "all learned here", 60, here)
    there = cluster.learner("there", client)
    wait_for(lambda: "started" in cluster.output("there"), "the other one's start", 60, there)
    ends = cluster.feed(200, (0, 1))
    wait_for(lambda: cluster.learned(ends), "all learned by both", 60, there)

    here.send_signal(signal.SIGTERM)
    told = time.monotonic()
    ends = cluster.feed(100, (0, 1))
    wait_for(lambda: cluster.learned(ends), "all learned there", 60, there)
    took_s = time.monotonic() - told
    assert here.wait(30) == 0, cluster.output("here")
    assert took_s < 6, "far less than a session's end"
    there.send_signal(signal.SIGTERM)
    assert there.wait(30) == 0, cluster.output("there")
    for partition, end in ends.items():
        assert cluster.checkpoints(partition)[0] == end


def ready(port: int) -> tuple[int, str]:
    """Status and body of serving's readiness; 0 where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def test_serving_that_is_started_again_in_an_outage_says_so_and_waits(
    own_broker: Callable[[], JavaBroker], tmp_path: Path
) -> None:
    broker, port = own_broker(), free_port()
    cluster = Cluster(tmp_path, broker.bootstrap, 2)
    try:
        made = penstock(*cluster.arguments("here"), "topics", "create", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        broker.kill()
        command = (*cluster.arguments("here"), "run", "serving")
        by_hand = penstock(*command, cwd=tmp_path, PENSTOCK_PORT=str(port))
        assert by_hand.returncode == 3, by_hand.stderr
        assert by_hand.stderr.count("\n") == 1, by_hand.stderr
        output = tmp_path / "serving.txt"
        child = start(*command, "--follow-parent", cwd=tmp_path, output=output, PENSTOCK_PORT=str(port))
        cluster.processes.append(child)
        wait_for(lambda: ready(port)[0] == 503, "an answer that says no", 60, child)
        wait_for(lambda: "is the broker up?" in ready(port)[1], "the reason", 60, child)
        assert not (tmp_path / "here" / "serving.url").exists()
        broker.start()
        wait_for(lambda: ready(port)[0] == 200, "readiness", 60, child)
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0, output.read_text()
        assert "Traceback" not in output.read_text()
    finally:
        cluster.close()
