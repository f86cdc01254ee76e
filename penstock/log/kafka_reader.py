"""Reads committed records at positions that the caller sets; nothing is ever reset silently."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka import errors as kafka_errors

from penstock.errors import OffsetOutOfRangeError
from penstock.log.kafka_admin import open_client
from penstock.log.kafka_cluster import Cluster
from penstock.log.kafka_config import client_config
from penstock.log.kafka_errors import log_error
from penstock.log.port import Record, TopicPartition

FETCH_MAX_WAIT_MS = 100
#: Records that are held here at most before more are taken from the client.
HELD_RECORDS = 5000


class KafkaReader:
    """A consumer without a group. Not thread-safe. Connects when it is made (see `open_client` for what that raises).

    The client hands out what it fetched of one partition before it turns to the next, a megabyte each. So records are
    held here and handed out by turns.

    ``skip_lost``: a position that retention has passed moves to the oldest record, which is what a tail wants.
    """

    def __init__(self, cluster: Cluster, *, skip_lost: bool = False) -> None:
        self._cluster = cluster
        self._consumer = open_client(cluster.options, KafkaConsumer, _config(cluster, skip_lost))
        self._short: dict[KafkaPartition, TopicPartition] = {}
        self._held: dict[TopicPartition, deque[Record]] = {}

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions, from these offsets."""
        physical = {self._cluster.physical(partition): partition for partition in positions}
        self._short, self._held = physical, {partition: deque() for partition in positions}
        self._consumer.assign(list(physical))
        for where, partition in physical.items():
            self._consumer.seek(where, positions[partition])

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """The next records of an assigned partition start at ``offset``."""
        self._held[partition].clear()
        self._consumer.seek(self._cluster.physical(partition), offset)

    def position(self, partition: TopicPartition) -> int:
        """The offset that is read next; beyond the last record where only marks of transactions follow it."""
        held = self._held[partition]
        return held[0].offset if held else int(self._consumer.position(self._cluster.physical(partition), timeout_ms=0))

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records; empty after ``timeout_s``, also while the cluster is away.

        Raises:
            OffsetOutOfRangeError: a position is outside what the log holds; no position was changed.
            LogError: the cluster refuses to be read.
        """
        counts = [len(records) for records in self._held.values()]
        if counts and min(counts) == 0 and sum(counts) < HELD_RECORDS:
            self._fetch(0.0 if any(counts) else timeout_s)
        return take_turns(self._held, max_records)

    def _fetch(self, timeout_s: float) -> None:
        try:
            found = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=HELD_RECORDS)
        except kafka_errors.OffsetOutOfRangeError as error:
            ((where, offset),) = list(error.args[0].items())[:1]
            partition = self._short[where]
            raise OffsetOutOfRangeError(*partition, offset, *self._cluster.bounds(partition)) from error
        except kafka_errors.KafkaError as error:
            raise log_error(self._cluster.options, "reading", error) from error
        for where, records in found.items():
            partition = self._short[where]
            self._held[partition].extend(_record(partition, record) for record in records)

    def close(self) -> None:
        """Idempotent."""
        self._consumer.close(autocommit=False, timeout_ms=1000)


def take_turns(held: dict[TopicPartition, deque[Record]], max_records: int) -> list[Record]:
    """Up to ``max_records``, as evenly from all as they have some; who was served goes to the end of the line."""
    taken: list[Record] = []
    waiting = [partition for partition, records in held.items() if records]
    while waiting and len(taken) < max_records:
        share = max(1, (max_records - len(taken)) // len(waiting))
        for partition in waiting:
            records = held[partition]
            count = min(share, len(records), max_records - len(taken))
            taken += [records.popleft() for _ in range(count)]
            if count:
                held[partition] = held.pop(partition)
        waiting = [partition for partition in waiting if held[partition]]
    return taken


def _config(cluster: Cluster, skip_lost: bool) -> dict[str, Any]:
    return client_config(cluster.options) | {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest" if skip_lost else "none",
        "allow_auto_create_topics": False,
        "fetch_max_wait_ms": FETCH_MAX_WAIT_MS,
        "metrics_enabled": False,
    }


def _record(partition: TopicPartition, record: Any) -> Record:
    topic, number = partition
    headers = tuple(record.headers)
    return Record(topic, number, record.offset, record.timestamp, record.key, record.value, headers)
