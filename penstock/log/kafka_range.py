"""Reads ranges of a partition's history, one after the other without starting anew."""

from __future__ import annotations

import threading
import time

from penstock.errors import LogUnavailableError
from penstock.log.kafka_cluster import Cluster
from penstock.log.kafka_reader import KafkaReader
from penstock.log.port import Record, TopicPartition

POLL_S = 0.2


class RangeReader:
    """Thread-safe; one range at a time. Connects at the first one."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._reader: KafkaReader | None = None
        self._at: tuple[TopicPartition, int] | None = None

    def read(self, partition: TopicPartition, start: int, stop: int, max_records: int) -> list[Record]:
        """Up to ``max_records`` committed records with ``start`` ≤ offset < ``stop``, which the log must hold.

        Raises:
            OffsetOutOfRangeError: retention has passed ``start``.
            LogUnavailableError: the records did not come in time.
        """
        if start >= stop or max_records < 1:
            return []
        with self._lock:
            reader = self._reader = self._reader or KafkaReader(self._cluster)
            if self._at != (partition, start):
                reader.assign({partition: start})
            self._at = None  # unknown, until this range is read
            records = self._fill(reader, partition, stop, max_records)
            if records and records[-1].offset >= stop:
                return [record for record in records if record.offset < stop]
            if records:
                self._at = partition, records[-1].offset + 1
            return records

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            reader, self._reader, self._at = self._reader, None, None
        if reader is not None:
            reader.close()

    def _fill(self, reader: KafkaReader, partition: TopicPartition, stop: int, max_records: int) -> list[Record]:
        records: list[Record] = []
        patience_s = self._cluster.options.request_timeout_ms / 1000
        deadline = time.monotonic() + patience_s
        while len(records) < max_records and reader.position(partition) < stop:
            found = reader.poll(max_records - len(records), POLL_S)
            if found:
                records += found
                deadline = time.monotonic() + patience_s
            elif time.monotonic() > deadline:
                raise LogUnavailableError(
                    f"kafka at {self._cluster.options.bootstrap}: {partition.topic}/{partition.partition} could not be "
                    f"read up to {stop}"
                )
        return records
