"""The Kafka of a run: KAFKA_BOOTSTRAP_SERVERS, or a broker of its own; its topics, and what is put into them."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it is there

from penstock.topology import TOPICS, partition_count, physical_name

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """``bootstrap``, the broker's ``pid`` (None: it is not ours) and version, and a name that only this run has."""

    bootstrap: str
    pid: int | None
    version: str
    run: str


@contextmanager
def kafka() -> Iterator[Cluster]:
    """A cluster for one run."""
    run = f"bench{uuid.uuid4().hex[:6]}"
    configured = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if configured:
        yield Cluster(configured, None, "as configured by KAFKA_BOOTSTRAP_SERVERS", run)
        return
    from tests.broker.java import JavaBroker

    with tempfile.TemporaryDirectory() as folder:
        broker = JavaBroker(Path(folder) / "kafka")
        broker.start()
        try:
            assert broker.process is not None
            yield Cluster(broker.bootstrap, broker.process.pid, "Apache Kafka 4.1.0, one node, Java", run)
        finally:
            broker.kill()


def make_topics(cluster: Cluster, pipeline: str, partitions: int = 1) -> None:
    """All topics of ``pipeline``."""
    wanted = [
        NewTopic(physical_name(pipeline, topic.name), partition_count(topic, partitions), 1)
        for topic in TOPICS.values()
    ]
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for done in admin.create_topics(wanted).values():
        done.result(TIMEOUT_S)


def make_topic(cluster: Cluster, name: str, partitions: int = 1) -> None:
    """One topic by its physical name."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for done in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        done.result(TIMEOUT_S)


def fill(
    cluster: Cluster, topic: str, records: Iterable[tuple[bytes, bytes]], partitions: Sequence[int] = (0,)
) -> None:
    """Append (key, value) ``records`` to ``partitions`` of ``topic`` in turn, and wait until all are there."""
    producer = Producer(
        {"bootstrap.servers": cluster.bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 5_000_000}
    )
    for index, (key, value) in enumerate(records):
        producer.produce(topic, value, key, partitions[index % len(partitions)])
        if index % 10_000 == 0:
            producer.poll(0)
    left = producer.flush(TIMEOUT_S)
    assert left == 0, f"{left} records were not delivered to {topic}"
