"""One Apache Kafka broker (KRaft) as a Java process, from the jars on Maven Central."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

#: Jars are kept here between runs.
CACHE = Path(os.environ.get("PENSTOCK_KAFKA_JARS") or Path.home() / ".cache" / "penstock" / "kafka-4.1.0")
POM = Path(__file__).with_name("pom.xml")
START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def jars() -> Path:
    """The folder of the broker's jars, fetched once."""
    if not (CACHE / "complete").is_file():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        folder = CACHE.with_name(f"{CACHE.name}.{uuid.uuid4().hex[:8]}")
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        subprocess.run(command, check=True, timeout=300)
        (folder / "complete").touch()
        try:
            folder.rename(CACHE)
        except OSError:  # another process was quicker
            shutil.rmtree(folder)
    return CACHE


class JavaBroker:
    """A broker whose data lie in ``folder``; it can be killed and started again on the same ports and data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._controller_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._properties = folder / "server.properties"
        self._properties.write_text(self._settings())
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties), "--standalone"]
        subprocess.run(["java", "-cp", f"{jars()}/*", *command], check=True, stdout=subprocess.DEVNULL, timeout=60)

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the plain listener."""
        return f"localhost:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = (self.folder / "broker.log").open("ab")
        self.process = subprocess.Popen(
            ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars()}/*", "kafka.Kafka", str(self._properties)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the broker did not start; see {self.folder / 'broker.log'}")
            time.sleep(0.1)

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal_number)
            self.process.wait(60)

    def _answers(self) -> bool:
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        try:
            with socket.create_connection(("localhost", self.port), 1):
                pass
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=2000)
        except (OSError, KafkaError):
            return False
        try:
            admin.list_topics()
        except KafkaError:
            return False
        finally:
            admin.close()
        return True

    def _settings(self) -> str:
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"localhost:{self._controller_port}",
            "listeners": f"PLAINTEXT://localhost:{self.port},CONTROLLER://localhost:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://localhost:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "2",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            "log.cleaner.enable": "true",
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())
