"""Reads an embedded log with SQL of its own: the checker shares no code with the stages or the log it checks."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

OFFSET_BITS = 40


class Stored(NamedTuple):
    """A record as the log holds it. ``timestamp_ms`` is its append time."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


#: What a log holds: by topic (short name), then by partition, in offset order.
Recorded: TypeAlias = dict[str, dict[int, list[Stored]]]
#: How far groups have come: by group, topic (short name) and partition.
Committed: TypeAlias = dict[tuple[str, str, int], int]


class LogReader:
    """One pipeline's topics in a log file, read-only."""

    def __init__(self, path: Path, pipeline: str) -> None:
        self._path = path
        self._pipeline = pipeline

    def values(self, topic: str, partition: int = 0) -> list[dict[str, Any]]:
        """All values of a partition, in offset order, decoded."""
        return [json.loads(value) for value in self.raw(topic, partition)]

    def raw(self, topic: str, partition: int = 0) -> list[bytes]:
        """All values of a partition, in offset order."""
        return [record.value for record in self.stored(topic, partition)]

    def stored(self, topic: str, partition: int = 0) -> list[Stored]:
        """All records of a partition, in offset order."""
        with self._connection() as connection:
            identifier = connection.execute(
                "SELECT p.id FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = ? AND p.number = ?",
                (f"{self._pipeline}.{topic}.v1", partition),
            ).fetchone()
            return [] if identifier is None else _stored(connection, identifier[0])

    def everything(self) -> Recorded:
        """All records of all topics, as of one moment."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            found: Recorded = {}
            for topic, number, identifier in self._partitions(connection):
                found.setdefault(topic, {})[number] = _stored(connection, identifier)
            return found

    def committed(self) -> Committed:
        """What every group has committed."""
        with self._connection() as connection:
            named = {identifier: (topic, number) for topic, number, identifier in self._partitions(connection)}
            rows = connection.execute('SELECT grp, partition, "offset" FROM committed').fetchall()
            own = f"{self._pipeline}."  # the file puts it before what a group calls itself
            return {(group.removeprefix(own), *named[at]): offset for group, at, offset in rows if at in named}

    def count(self, topic: str) -> int:
        """How many records a topic's first partition holds; 0 while the file or its tables are not there yet."""
        try:
            return len(self.raw(topic)) if self._path.exists() else 0
        except sqlite3.OperationalError:
            return 0

    def _partitions(self, connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
        query = "SELECT t.name, p.number, p.id FROM partitions p JOIN topics t ON t.id = p.topic ORDER BY p.id"
        prefix, suffix = f"{self._pipeline}.", ".v1"
        return [
            (name.removeprefix(prefix).removesuffix(suffix), number, identifier)
            for name, number, identifier in connection.execute(query)
            if name.startswith(prefix)
        ]

    def _connection(self) -> _Closing:
        return _Closing(self._path)


class _Closing:
    """A read-only connection that is closed at the end of its block."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, timeout=30, isolation_level=None, check_same_thread=False
        )

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _stored(connection: sqlite3.Connection, partition: int) -> list[Stored]:
    first, end = partition << OFFSET_BITS, (partition + 1) << OFFSET_BITS
    query = "SELECT place, timestamp_ms, key, value, headers FROM records WHERE place >= ? AND place < ? ORDER BY place"
    return [
        Stored(place - first, ms, key, bytes(value), _headers(headers))
        for place, ms, key, value, headers in connection.execute(query, (first, end))
    ]


def _headers(packed: bytes | None) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, bytes(value)) for name, value in msgspec.msgpack.decode(packed)) if packed else ()


def missing_and_double(expected: list[str], found: list[str]) -> tuple[set[str], set[str]]:
    """Ids that should be there and are not, and ids that are there more than once (or should not be at all)."""
    counts = Counter(found)
    surplus = {identifier for identifier, count in counts.items() if count > 1 or identifier not in set(expected)}
    return set(expected) - set(counts), surplus
