"""Topics, partitions and records in the embedded log's file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from penstock.errors import LogError, OffsetOutOfRangeError, UnknownTopicError
from penstock.log.embedded_file import OFFSET_BITS, OFFSET_MASK
from penstock.log.partitioner import partition_for
from penstock.log.port import Bounds, Headers, Message, Record, TopicConfig
from penstock.topology import physical_name

_headers = msgspec.msgpack.Decoder(Headers)

#: Records that one transaction of ``delete_older`` or ``compact`` looks at, so that writers never wait long.
MAINTENANCE_CHUNK = 5_000


class Place(NamedTuple):
    """A partition: its key in the file, and how the port names it."""

    id: int
    topic: str
    number: int


class Catalog:
    """The partitions of one pipeline's topics. Topics are never deleted, so what was seen once is remembered."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._lock = threading.Lock()
        self._places: dict[str, list[Place]] = {}

    def places(self, topic: str, connection: sqlite3.Connection) -> list[Place]:
        """The partitions of ``topic`` by number. Raises ``UnknownTopicError``."""
        known = self._places.get(topic)
        if known is not None:
            return known
        rows = connection.execute(
            "SELECT p.id, p.number FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = ? ORDER BY number",
            (physical_name(self._pipeline, topic),),
        ).fetchall()
        if not rows:
            raise UnknownTopicError(topic)
        with self._lock:
            return self._places.setdefault(topic, [Place(id_, topic, number) for id_, number in rows])

    def place(self, topic: str, number: int, connection: sqlite3.Connection) -> Place:
        """One partition. Raises ``UnknownTopicError``."""
        places = self.places(topic, connection)
        if not 0 <= number < len(places):
            raise UnknownTopicError(topic, number)
        return places[number]

    def targets(self, messages: Sequence[Message], connection: sqlite3.Connection) -> list[Place]:
        """Where each of ``messages`` goes. Raises ``UnknownTopicError``."""
        targets = []
        for message in messages:
            number = message.partition
            if number is None:
                number = partition_for(message.key, len(self.places(message.topic, connection)))
            targets.append(self.place(message.topic, number, connection))
        return targets


def create_topics(connection: sqlite3.Connection, pipeline: str, topics: Sequence[TopicConfig]) -> None:
    """Create what is missing, and update retention and clean-up of the rest. In a transaction of the caller.

    Raises:
        LogError: a topic exists with another number of partitions, or one has none.
    """
    for config in topics:
        name = physical_name(pipeline, config.name)
        row = connection.execute("SELECT partitions FROM topics WHERE name = ?", (name,)).fetchone()
        if config.partitions < 1 or (row is not None and row[0] != config.partitions):
            raise LogError(
                f"topic {config.name} has {row[0] if row else 0} partitions, not {config.partitions}; "
                "changing the number means new topics: use a new pipeline name"
            )
        if row is not None:
            connection.execute(
                "UPDATE topics SET retention_ms = ?, compact = ? WHERE name = ?",
                (config.retention_ms, config.compact, name),
            )
            continue
        topic_id = connection.execute(
            "INSERT INTO topics (name, partitions, retention_ms, compact) VALUES (?, ?, ?, ?)",
            (name, config.partitions, config.retention_ms, config.compact),
        ).lastrowid
        connection.executemany(
            "INSERT INTO partitions (topic, number) VALUES (?, ?)", [(topic_id, p) for p in range(config.partitions)]
        )


def append_records(
    connection: sqlite3.Connection, targets: Sequence[Place], messages: Sequence[Message], now_ms: int
) -> list[int]:
    """Append each message to its target, in a transaction of the caller, and return the offsets."""
    by_partition: dict[int, list[int]] = {}
    for index, target in enumerate(targets):
        by_partition.setdefault(target.id, []).append(index)
    offsets = [0] * len(messages)
    for partition, indices in by_partition.items():
        offset, last_ms = connection.execute(
            "SELECT next, last_ms FROM partitions WHERE id = ?", (partition,)
        ).fetchone()
        timestamp_ms = now_ms if last_ms is None else max(now_ms, last_ms)
        base = partition << OFFSET_BITS
        rows = []
        for index in indices:
            offsets[index] = offset
            _, key, value, _, headers = messages[index]
            rows.append((base | offset, timestamp_ms, key, value, msgspec.msgpack.encode(headers) if headers else None))
            offset += 1
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute(
            "UPDATE partitions SET next = ?, last_ms = ? WHERE id = ?", (offset, timestamp_ms, partition)
        )
    return offsets


def bounds_of(connection: sqlite3.Connection, partitions: Iterable[Place]) -> list[Bounds]:
    """What each partition holds, in the order asked."""
    execute = connection.execute
    return [
        Bounds(*execute("SELECT first, next FROM partitions WHERE id = ?", (place.id,)).fetchone())
        for place in partitions
    ]


def read_records(connection: sqlite3.Connection, place: Place, start: int, stop: int, limit: int) -> list[Record]:
    """Up to ``limit`` records with ``start`` ≤ offset < ``stop``."""
    base = place.id << OFFSET_BITS
    _, topic, number = place
    return [
        Record(topic, number, at & OFFSET_MASK, ms, key, value, _headers.decode(headers) if headers else ())
        for at, ms, key, value, headers in connection.execute(
            "SELECT place, timestamp_ms, key, value, headers FROM records WHERE place >= ? AND place < ? "
            "ORDER BY place LIMIT ?",
            (base | start, base | stop, limit),
        ).fetchall()
    ]


class Cursor:
    """A reader's place in one partition; ``bounds`` is what the partition held in the current read transaction."""

    __slots__ = ("_connection", "bounds", "place", "position")

    def __init__(self, connection: sqlite3.Connection, place: Place, position: int) -> None:
        self._connection, self.place, self.position = connection, place, position
        self.bounds = Bounds(position, position)

    def take(self, max_records: int) -> list[Record]:
        """The next records. Raises ``OffsetOutOfRangeError`` where ``position`` is outside ``bounds``."""
        if not self.bounds.first <= self.position <= self.bounds.end:
            raise OffsetOutOfRangeError(self.place.topic, self.place.number, self.position, *self.bounds)
        records = read_records(self._connection, self.place, self.position, self.bounds.end, max_records)
        if records:
            self.position = records[-1].offset + 1
        return records


def delete_older(connection: sqlite3.Connection, partition: int, oldest_ms: int) -> bool:
    """Delete records appended before ``oldest_ms``, oldest first; whether there may be more. In a transaction."""
    base = partition << OFFSET_BITS
    rows = connection.execute(
        "SELECT place, timestamp_ms FROM records WHERE place >= ? AND place <= ? ORDER BY place LIMIT ?",
        (base, base | OFFSET_MASK, MAINTENANCE_CHUNK),
    ).fetchall()
    old = [at for at, timestamp_ms in rows if timestamp_ms < oldest_ms]
    if not old:
        return False
    connection.execute("DELETE FROM records WHERE place >= ? AND place <= ?", (base, old[-1]))
    connection.execute("UPDATE partitions SET first = ? WHERE id = ?", ((old[-1] & OFFSET_MASK) + 1, partition))
    return len(old) == MAINTENANCE_CHUNK


def compact(connection: sqlite3.Connection, partition: int) -> None:
    """Delete all but the newest record of each key (records without a key stay). In a transaction."""
    base = partition << OFFSET_BITS
    within = (base, base | OFFSET_MASK)
    connection.execute(
        "DELETE FROM records WHERE place >= ? AND place <= ? AND key IS NOT NULL AND place NOT IN "
        "(SELECT max(place) FROM records WHERE place >= ? AND place <= ? GROUP BY key)",
        within + within,
    )
