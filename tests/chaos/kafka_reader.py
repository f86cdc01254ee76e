"""Reads a pipeline's topics on Kafka with a plain consumer: the checker shares no code with the log it checks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.system.log_reader import Committed, Recorded, Stored

PATIENCE_S = 60.0
POLL_S = 0.5
APPEND_TIME = 2


class KafkaReader:
    """All committed records of one pipeline, read once more from the beginning, then as they grow."""

    def __init__(self, bootstrap: str, pipeline: str, groups: Sequence[str]) -> None:
        self._prefix, self._suffix, self._groups = f"{pipeline}.", ".v1", groups
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._settings = {
            "bootstrap.servers": bootstrap,
            "group.id": f"{pipeline}.checker",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "reconnect.backoff.max.ms": 1000,
            "log_level": 0,
        }
        self._consumer = Consumer(self._settings)
        self._held: Recorded = {}
        self._next: dict[tuple[str, int], int] = {}

    def everything(self) -> Recorded:
        """All records up to where readers of committed records come now.

        Raises:
            AssertionError: the broker does not let us come there in time.
        """
        deadline = time.monotonic() + PATIENCE_S
        where = self._partitions(deadline)
        self._consumer.assign([TopicPartition(name, number, self._next.get((name, number), OFFSET_BEGINNING))
                               for name, number in where])  # fmt: skip
        waiting = set(where)
        while waiting:
            assert time.monotonic() < deadline, f"the end was not reached within {PATIENCE_S} s: {sorted(waiting)}"
            message = self._consumer.poll(POLL_S)
            if message is None:
                continue
            place = (message.topic(), message.partition())
            if message.error() is None:
                self._take(message)
            elif message.error().name() == "_PARTITION_EOF":
                waiting.discard(place)
            elif message.error().fatal():
                raise KafkaException(message.error())
        return self._held

    def committed(self) -> Committed:
        """What the pipeline's groups have committed.

        Raises:
            AssertionError: the broker does not say so in time.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with closing(KafkaAdminClient(bootstrap_servers=self._settings["bootstrap.servers"])) as admin:
                    return self._committed(admin)
            except KafkaError as error:
                why = f"{type(error).__name__}: {error}"
            assert time.monotonic() < deadline, f"committed offsets: {why}"
            time.sleep(0.2)

    def _committed(self, admin: KafkaAdminClient) -> Committed:
        """By kafka-python: librdkafka 2.16 crashes where the coordinator of a group that is asked for moves."""
        found: Committed = {}
        for group in self._groups:
            for partition, held in admin.list_group_offsets(group)[group].items():
                if held.offset >= 0:
                    found[(group, self._short(partition.topic), partition.partition)] = held.offset
        return found

    def members(self, group: str) -> int:
        """How many members a group has now."""
        (future,) = self._admin.describe_consumer_groups([group]).values()
        return len(future.result(PATIENCE_S).members)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _take(self, message) -> None:
        place = (message.topic(), message.partition())
        kind, timestamp_ms = message.timestamp()
        assert kind == APPEND_TIME, f"{place}: the timestamps are not those of appending"
        record = Stored(
            message.offset(),
            timestamp_ms,
            message.key(),
            message.value(),
            tuple((name, bytes(value)) for name, value in message.headers() or ()),
        )
        self._held.setdefault(self._short(place[0]), {}).setdefault(place[1], []).append(record)
        self._next[place] = message.offset() + 1

    def _partitions(self, deadline: float) -> list[tuple[str, int]]:
        while True:
            try:
                topics = self._consumer.list_topics(timeout=10).topics
                break
            except KafkaException:  # a client may take long to find back to a broker that was away: take another
                self._consumer.close()
                self._consumer = Consumer(self._settings)
            assert time.monotonic() < deadline, "the broker does not list its topics"
            time.sleep(0.2)
        found = [(name, number) for name, topic in topics.items() for number in topic.partitions]
        mine = sorted(where for where in found if where[0].startswith(self._prefix) and where[0].endswith(self._suffix))
        for name, number in mine:
            self._held.setdefault(self._short(name), {}).setdefault(number, [])
        return mine

    def _short(self, name: str) -> str:
        return name.removeprefix(self._prefix).removesuffix(self._suffix)
