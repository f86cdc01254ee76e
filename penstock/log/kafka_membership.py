"""A member of a group: reads its partitions at its own positions and commits transactions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from kafka import errors as kafka_errors
from kafka.structs import TopicPartition as KafkaPartition

from penstock.errors import FencedError, LogUnavailableError, OffsetOutOfRangeError
from penstock.log.kafka_cluster import Cluster
from penstock.log.kafka_errors import log_error
from penstock.log.kafka_producer import DisplacedError, StaleGenerationError, TransactionalProducer
from penstock.log.kafka_reader import KafkaReader
from penstock.log.kafka_seat import Seat
from penstock.log.kafka_watchdog import Watchdog
from penstock.log.port import Message, OnPartitions, Record, TopicPartition
from penstock.topology import physical_name

#: How long one wait of a poll lasts: changes of ownership are noticed after it.
SLICE_S = 0.05
#: How long a commit waits for a rebalance to settle before it asks to be repeated.
SETTLE_S = 5.0
#: A committed offset under an open transaction of another is waited for this long.
COMMITTED_TIMEOUT_MS = 3000


class KafkaMembership:
    """See ``Membership``. The group is agreed on the first topic; partition p of the others goes with it.

    A commit may run in another thread while the owner polls, one at a time.

    1. The transactional id is taken, which fences a namesake at once and aborts what it left open.
    2. The seat in the group is taken.
    """

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topics: Sequence[str],
        member: str,
        on_assigned: OnPartitions,
        on_revoked: OnPartitions,
    ) -> None:
        self._cluster, self._group, self._topics = cluster, group, tuple(topics)
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._owned: set[int] = set()
        self._positions: dict[TopicPartition, int] = {}
        self._unplaced: dict[TopicPartition, int | None] = {}  # None: at what was committed
        self._closed = False
        self._expulsions = 0
        with ExitStack() as opened:
            watchdog = Watchdog()
            opened.callback(watchdog.close)
            # 1.
            self._producer = TransactionalProducer(cluster.options, f"{group}.{member}", watchdog)
            opened.callback(self._producer.close)
            self._reader = KafkaReader(cluster)
            opened.callback(self._reader.close)
            # 2.
            self._seat = Seat(cluster, group, physical_name(cluster.options.pipeline, topics[0]), member)
            opened.callback(self._seat.close)
            self._opened = opened.pop_all()

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Membership.poll``."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._check()
            self._follow_changes()
            self._place()
            wait_s = max(0.0, min(SLICE_S, deadline - time.monotonic()))
            if self._positions:
                records = self._read(max_records, wait_s)
            else:
                records = []
                self._seat.wait_for_change(wait_s)
            for record in records:
                self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
            if records or time.monotonic() >= deadline:
                return records

    def commit(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        """See ``Membership.commit``.

        When the group has moved on to another generation and we still own the partitions, the transaction is
        repeated with the new one; partitions that were lost are never committed with it.
        """
        self._check()
        sends = [(self._cluster.target(message), message) for message in outputs]
        placed = {self._cluster.physical(partition): offset for partition, offset in offsets.items()}
        if not sends and not placed:
            return
        deadline = time.monotonic() + SETTLE_S
        generation = -1
        while True:
            self._check_owned(offsets)
            group = self._seat.metadata(generation, deadline - time.monotonic())
            if group is None:
                self._check()
                raise LogUnavailableError(f"group {self._group} does not settle; try again")
            generation = group.generation_id
            self._check_owned(offsets)
            try:
                self._producer.commit(sends, placed, group)
                return
            except DisplacedError as error:
                fenced = FencedError(self._group, min((p.partition for p in offsets), default=-1))
                self._seat.fail(fenced)
                raise fenced from error
            except StaleGenerationError:
                continue

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See ``Membership.seek``. Raises ``FencedError`` where ``partition`` is not owned."""
        if partition.partition not in self._owned or partition.topic not in self._topics:
            raise FencedError(self._group, partition.partition)
        self._unplaced[partition] = offset

    def committed(self, partition: TopicPartition) -> int | None:
        """See ``Membership.committed``."""
        return self._committed(self._cluster.physical(partition))

    def close(self) -> None:
        """See ``Membership.close``."""
        if self._closed:
            return
        self._closed = True
        with self._opened:
            if self._owned:
                self._on_revoked(sorted(self._owned))
                self._owned.clear()

    def _read(self, max_records: int, timeout_s: float) -> list[Record]:
        try:
            return self._reader.poll(max_records, timeout_s)
        except OffsetOutOfRangeError as error:
            self._unplaced[TopicPartition(error.topic, error.partition)] = error.offset  # say so at each poll
            raise

    def _check(self) -> None:
        try:
            self._seat.check()
        except FencedError as error:
            raise FencedError(self._group, min(self._owned, default=-1)) from error

    def _check_owned(self, offsets: Mapping[TopicPartition, int]) -> None:
        expelled = self._seat.expulsions != self._expulsions
        for partition in offsets:
            if expelled or partition.partition not in self._owned:
                raise FencedError(self._group, partition.partition)

    def _follow_changes(self) -> None:
        """Tell the caller, who may still commit what is revoked; only then give it up."""
        for change in self._seat.take_changes():
            if change.kind == "assigned":
                new = sorted(set(change.partitions) - self._owned)
                self._owned.update(new)
                self._unplaced |= {TopicPartition(topic, p): None for topic in self._topics for p in new}
                if new:
                    self._on_assigned(new)
                continue
            gone = sorted(set(change.partitions) & self._owned)
            if change.kind == "lost":
                self._owned.difference_update(gone)
                self._expulsions += 1
            if gone:
                self._on_revoked(gone)
            self._owned.difference_update(gone)
            self._forget(gone)
            if change.kind == "revoked":
                self._seat.release()

    def _forget(self, partitions: Sequence[int]) -> None:
        self._unplaced = {p: offset for p, offset in self._unplaced.items() if p.partition not in partitions}
        self._positions = {p: offset for p, offset in self._positions.items() if p.partition not in partitions}
        self._reader.assign(self._positions)

    def _place(self) -> None:
        """Start where was sought, else at what was committed, else at the oldest record.

        The client would notice only later that the log does not hold a position.
        """
        if not self._unplaced:
            return
        for partition, wanted in sorted(self._unplaced.items()):
            first, end = self._cluster.bounds(partition)
            offset = self._committed(self._cluster.physical(partition)) if wanted is None else wanted
            if offset is not None and not first <= offset <= end:
                raise OffsetOutOfRangeError(*partition, offset, first, end)
            self._positions[partition] = first if offset is None else offset
        self._unplaced.clear()
        self._reader.assign(self._positions)

    def _committed(self, where: KafkaPartition) -> int | None:
        try:
            offset = self._seat.consumer.committed(where, timeout_ms=COMMITTED_TIMEOUT_MS)
        except kafka_errors.KafkaError as error:
            raise log_error(self._cluster.options, f"asking what {self._group} has committed", error) from error
        return None if offset is None or offset < 0 else int(offset)
