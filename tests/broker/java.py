"""One Apache Kafka broker (KRaft) as a Java process, from the jars on Maven Central."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from contextlib import ExitStack
from pathlib import Path

from tests.broker.guard import Guard
from tests.broker.jars import jars
from tests.broker.properties import broker_properties
from tests.broker.secure import Listeners

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
PORTS = (15_000, 32_000)
JAVA = (
    "java",
    "-Xms128m",
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


def free_port() -> int:
    """A port that nobody listens on now, nor on the one above it.

    Below those that a system gives to outgoing connections: one of them could take it before its listener does.
    """
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with ExitStack() as probes:
            try:
                for each in (port, port + 1):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", each))
            except OSError:
                continue
            return port


class JavaBroker:
    """A broker whose data lie in ``folder``; it can be killed and started again on the same ports and data.

    It listens on localhost only, writes its log to ``folder/broker.log`` and dies with the process that started it,
    however that ends.
    """

    def __init__(self, folder: Path, port: int | None = None, secure: Listeners | None = None) -> None:
        """``port``: of the plain listener, with the controller's above it; None: any free ones.

        Raises:
            NoBrokerError: the jars cannot be fetched.
        """
        self.folder = folder
        self.secure = secure
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._properties = folder / "server.properties"
        controller_port = free_port() if port is None else port + 1
        self._properties.write_text(broker_properties(folder / "data", self.port, controller_port, secure))
        if not (folder / "data" / "meta.properties").is_file():
            self._format()

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the plain listener."""
        return f"localhost:{self.port}"

    @property
    def log(self) -> Path:
        """What the broker says."""
        return self.folder / "broker.log"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it did not start; the text names its log.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*JAVA, "-cp", f"{jars()}/*", "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard = Guard(self.process.pid)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.bootstrap):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the broker did not start; see {self.log}")
            time.sleep(0.1)

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal_number)
            self.process.wait(60)
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def stop(self) -> None:
        """Stop it in good order (a second or two), or kill it if it does not end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.kill()

    def _format(self) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        options = [f"--cluster-id={cluster}", f"--config={self._properties}", "--standalone"]  # an id may begin with -
        command = ["kafka.tools.StorageTool", "format", *options]
        command += self.secure.format_arguments() if self.secure else []
        with self.log.open("ab") as log:
            subprocess.run([*JAVA, "-cp", f"{jars()}/*", *command], check=True, stdout=log, stderr=log, timeout=60)


def answers(bootstrap: str) -> bool:
    """Whether a broker at ``bootstrap`` (``host:port``, plain) lists its topics."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    host, port = bootstrap.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), 1):
            pass
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=2000, bootstrap_timeout_ms=2000)
    except (OSError, KafkaError):
        return False
    try:
        admin.list_topics()
    except KafkaError:
        return False
    finally:
        admin.close()
    return True
