"""The two logs that a scene can be played on: how upstream sends to them, and how they are read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from confluent_kafka import Producer

from penstock.clock import SystemClock
from penstock.errors import LogUnavailableError
from penstock.log.embedded import EmbeddedLog
from penstock.log.open import topic_configs
from penstock.log.port import Message
from tests.broker.java import JavaBroker, free_port
from tests.chaos.kafka_reader import KafkaReader
from tests.chaos.proxy import Proxy
from tests.chaos.workload import Sent
from tests.system.log_reader import Committed, LogReader, Recorded

STAGES = ("scorer", "monitor", "joiner", "learner", "incidents", "retrainer")
SEND_PATIENCE_S = 240.0


class ChaosLog(Protocol):
    """A log under test. ``url`` is what `penstock --log` is given."""

    url: str
    name: str

    def start(self) -> None:
        """Make it ready for processes to connect."""

    def send(self, records: Sequence[Sent]) -> None:
        """As an upstream application: return when all are acknowledged."""

    def everything(self) -> Recorded:
        """What committed readers see now."""

    def committed(self) -> Committed:
        """How far the groups have come."""

    def end(self) -> None:
        """Stop it."""


class Embedded:
    """The embedded log in ``data_dir``; upstream appends through the log port, as the client SDK does."""

    name = "embedded"
    url = "embedded"

    def __init__(self, data_dir: Path, pipeline: str, partitions: int = 2) -> None:
        self.path = data_dir / "log.db"
        self._partitions = partitions
        self._pipeline = pipeline
        self._reader = LogReader(self.path, pipeline)
        self._log: EmbeddedLog | None = None

    def start(self) -> None:
        """Make the file and its topics."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._log = EmbeddedLog(self.path, self._pipeline, SystemClock())
        self._log.ensure_topics(topic_configs(self._partitions))

    def send(self, records: Sequence[Sent]) -> None:
        """See ``ChaosLog.send``."""
        assert self._log is not None, "not started"
        messages = [Message(sent.topic, sent.key, sent.value) for sent in records]
        deadline = time.monotonic() + SEND_PATIENCE_S
        while True:
            try:
                self._log.append(messages)
                return
            except LogUnavailableError:
                assert time.monotonic() < deadline, f"an append was not acknowledged within {SEND_PATIENCE_S} s"
                time.sleep(0.2)

    def everything(self) -> Recorded:
        """See ``ChaosLog.everything``."""
        return self._reader.everything()

    def committed(self) -> Committed:
        """See ``ChaosLog.committed``."""
        return self._reader.committed()

    def end(self) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()
            self._log = None


class Kafka:
    """A real broker of its own, which may be killed; upstream is a plain librdkafka producer.

    ``proxied`` is the URL of the same broker through ``proxy``, for processes whose network is to suffer.
    """

    name = "kafka"

    def __init__(self, folder: Path, pipeline: str) -> None:
        self._pipeline = pipeline
        self._groups = [f"{pipeline}.{stage}" for stage in STAGES]
        self.broker = JavaBroker(folder)
        upstream, front = free_port(), free_port()
        _add_listener(folder / "server.properties", self.broker.port, upstream, front)
        self.proxy = Proxy(front, upstream)
        self.url = f"kafka://{self.broker.bootstrap}"
        self.proxied = f"kafka://localhost:{front}"
        self._producer: Producer | None = None
        self._reader: KafkaReader | None = None

    def start(self) -> None:
        """Start the broker and the proxy before it."""
        self.broker.start()
        self.proxy.start()

    def send(self, records: Sequence[Sent]) -> None:
        """See ``ChaosLog.send``."""
        if self._producer is None:
            self._producer = self.new_producer()
        failed: list[str] = []
        for sent in records:
            topic = f"{self._pipeline}.{sent.topic}.v1"
            self._producer.produce(topic, sent.value, sent.key, on_delivery=_notes(failed))
        left = self._producer.flush(SEND_PATIENCE_S)
        assert left == 0, f"{left} records were not acknowledged within {SEND_PATIENCE_S} s"
        assert not failed, f"the producer gave up: {failed[:3]}"

    def new_producer(self) -> Producer:
        """Another upstream application, idempotent, partitioning as Kafka's Java clients do."""
        return Producer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 2,
                "delivery.timeout.ms": int(SEND_PATIENCE_S * 1000),
                "message.max.bytes": 16_000_000,
                "log_level": 0,
            }
        )

    def everything(self) -> Recorded:
        """See ``ChaosLog.everything``."""
        return self.reader().everything()

    def committed(self) -> Committed:
        """See ``ChaosLog.committed``."""
        return self.reader().committed()

    def reader(self) -> KafkaReader:
        """The reader that follows this broker."""
        if self._reader is None:
            self._reader = self.new_reader()
        return self._reader

    def new_reader(self) -> KafkaReader:
        """A reader that starts at the beginning."""
        return KafkaReader(self.broker.bootstrap, self._pipeline, self._groups)

    def end(self) -> None:
        """Close the reader and kill the broker."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._producer = None
        self.proxy.end()
        self.broker.kill()


def _notes(failed: list[str]) -> Callable[..., None]:
    def note(error, message) -> None:
        if error is not None:
            failed.append(str(error))

    return note


def _add_listener(properties: Path, port: int, upstream: int, front: int) -> None:
    """A second listener, on port ``upstream``, which tells its clients to come to port ``front``."""
    lines = []
    for line in properties.read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "listeners":
            value += f",PROXIED://localhost:{upstream}"
        elif name == "advertised.listeners":
            value += f",PROXIED://localhost:{front}"
        lines.append(f"{name}={value}")
    lines.append("listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT")
    properties.write_text("\n".join(lines) + "\n")
    assert f":{port}" in properties.read_text()
