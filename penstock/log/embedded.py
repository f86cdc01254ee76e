"""The log in one SQLite file: no server, several processes on one machine, every guarantee of the port."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from penstock.clock import Clock
from penstock.errors import LogError, OffsetOutOfRangeError
from penstock.log import embedded_groups as groups
from penstock.log.embedded_file import connect, translated
from penstock.log.embedded_heart import Heart
from penstock.log.embedded_membership import EmbeddedMembership, Parts, Seat
from penstock.log.embedded_reader import EmbeddedTail, Reader, snapshot
from penstock.log.embedded_records import (
    Catalog,
    append_records,
    bounds_of,
    compact,
    create_topics,
    delete_older,
    read_records,
)
from penstock.log.embedded_writer import Writer
from penstock.log.port import Bounds, Message, OnPartitions, Record, TopicConfig, TopicPartition

#: How often one of the processes that use a file deletes what it need not keep.
MAINTENANCE_INTERVAL_MS = 300_000


class EmbeddedLog:
    """A log over one SQLite file (WAL mode, ``synchronous=FULL``) that any number of local processes share.

    The file may hold several pipelines. It must lie on a local file system. A member that has not been heard of for
    ``session_timeout_s`` loses its partitions; so does every member of an earlier boot of the machine.

    Thread-safe, but for what it hands out.
    """

    def __init__(self, path: Path, pipeline: str, clock: Clock, *, session_timeout_s: float = 10.0) -> None:
        """Open ``path``, creating it when needed.

        Raises:
            LogError: the file is not a log, or is damaged.
            LogUnavailableError: it cannot be opened.
        """
        self._path, self._pipeline, self._clock = path, pipeline, clock
        self._writer = Writer(path)
        self._catalog = Catalog(pipeline)
        self._heart = Heart(self._writer, clock, session_timeout_s, self._maintain_when_due)
        self._parts = Parts(self._writer, self._heart, self._catalog, clock)
        self._idle: list[sqlite3.Connection] = []
        self._closed = threading.Event()
        self._closing = threading.Lock()

    def ensure_topics(self, topics: Sequence[TopicConfig]) -> None:
        """See ``Log.ensure_topics``."""
        self._writer.write(lambda connection: create_topics(connection, self._pipeline, topics))

    def partitions(self, topic: str) -> int:
        """See ``Log.partitions``."""
        with self._reading() as connection:
            return len(self._catalog.places(topic, connection))

    def append(self, messages: Sequence[Message]) -> list[int]:
        """See ``Log.append``."""
        with self._reading() as connection:
            targets = self._catalog.targets(messages, connection)
        if not targets:
            return []
        return self._writer.write(
            lambda connection: append_records(connection, targets, messages, self._clock.now_ms())
        )

    def join(
        self, group: str, topics: Sequence[str], member: str, on_assigned: OnPartitions, on_revoked: OnPartitions
    ) -> EmbeddedMembership:
        """See ``Log.join``. Raises ``LogError`` where the topics are not co-partitioned."""
        counts = {self.partitions(topic) for topic in topics}
        if len(counts) != 1:
            raise LogError(f"group {group}: its topics {', '.join(topics)} must have equal partition counts")
        seat = Seat(f"{self._pipeline}.{group}", group, tuple(topics), counts.pop(), member)
        reader = Reader(self._path, self._writer)
        try:
            return EmbeddedMembership(self._parts, seat, reader, on_assigned, on_revoked)
        except LogError:
            reader.close()
            raise

    def read(self, partition: TopicPartition, start: int, stop: int, max_records: int) -> list[Record]:
        """See ``Log.read``."""
        with self._reading() as connection:
            place = self._catalog.place(*partition, connection)
            with snapshot(connection):
                (bounds,) = bounds_of(connection, [place])
                if start < bounds.first:
                    raise OffsetOutOfRangeError(place.topic, place.number, start, *bounds)
                return read_records(connection, place, start, min(stop, bounds.end), max_records)

    def bounds(self, partition: TopicPartition) -> Bounds:
        """See ``Log.bounds``."""
        with self._reading() as connection:
            return bounds_of(connection, [self._catalog.place(*partition, connection)])[0]

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """See ``Log.committed``."""
        with self._reading() as connection:
            place = self._catalog.place(*partition, connection)
            return groups.committed_of(connection, f"{self._pipeline}.{group}", place.id)

    def tail(self, topics: Sequence[str], *, from_start: bool) -> EmbeddedTail:
        """See ``Log.tail``."""
        reader = Reader(self._path, self._writer)
        try:
            with translated(self._path):
                places = [p for topic in topics for p in self._catalog.places(topic, reader.connection)]
                for place, bounds in zip(places, bounds_of(reader.connection, places), strict=True):
                    reader.follow(place, bounds.first if from_start else bounds.end)
        except LogError:
            reader.close()
            raise
        return EmbeddedTail(reader)

    def maintain(self) -> None:
        """Delete what is older than its topic's retention, and all but the newest record per key where compacted.

        Runs by itself every few minutes in processes that have members. Many short transactions, so writers go on. The
        space is used again by later records; the file does not shrink.
        """
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT p.id, t.retention_ms, t.compact FROM partitions p JOIN topics t ON t.id = p.topic ORDER BY p.id"
            ).fetchall()
        now_ms = self._clock.now_ms()
        for partition, retention_ms, compacted in rows:
            while retention_ms is not None and self._delete_older(partition, now_ms - retention_ms):
                pass
            if compacted:
                self._compact(partition)

    def close(self) -> None:
        """See ``Log.close``. Members that were not closed leave, without their callbacks."""
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
        members = self._heart.stop()
        try:
            for epoch, group in members.items():
                self._leave(group, epoch)
        finally:
            self._writer.close()
            while self._idle:
                self._idle.pop().close()

    def _leave(self, group: str, epoch: int) -> None:
        self._writer.write(lambda connection: groups.leave(connection, group, epoch))

    def _delete_older(self, partition: int, oldest_ms: int) -> bool:
        return self._writer.write(lambda connection: delete_older(connection, partition, oldest_ms))

    def _compact(self, partition: int) -> None:
        self._writer.write(lambda connection: compact(connection, partition))

    def _maintain_when_due(self) -> None:
        now_ms = self._clock.now_ms()
        with self._reading() as connection:
            query = "SELECT value FROM counters WHERE name = 'maintained_ms'"
            if now_ms - connection.execute(query).fetchone()[0] < MAINTENANCE_INTERVAL_MS:
                return
        self._writer.write(
            lambda connection: connection.execute(
                "UPDATE counters SET value = ? WHERE name = 'maintained_ms'", (now_ms,)
            )
        )
        self.maintain()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile; it goes back to the idle ones."""
        with translated(self._path):
            if self._closed.is_set():
                raise LogError(f"log {self._path}: it is closed")
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = connect(self._path)
            try:
                yield connection
            finally:
                if self._closed.is_set():
                    connection.close()
                else:
                    self._idle.append(connection)
