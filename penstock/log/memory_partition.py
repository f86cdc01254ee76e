"""A partition in memory, and a reader's place in it. Not thread-safe: the log's lock is held."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from penstock.errors import OffsetOutOfRangeError
from penstock.log.port import Message, Record
from penstock.log.turns import take_in_turns


class MemoryPartition:
    """Records in offset order. ``first`` is moved by retention only, so compaction leaves gaps above it."""

    __slots__ = ("end", "first", "last_ms", "number", "records", "topic")

    def __init__(self, topic: str, number: int) -> None:
        self.topic, self.number = topic, number
        self.records: list[Record] = []
        self.first = self.end = 0
        self.last_ms: int | None = None

    def append(self, message: Message, now_ms: int) -> int:
        """Append and return the offset; the timestamp never goes back."""
        offset = self.end
        if self.last_ms is not None and now_ms < self.last_ms:
            now_ms = self.last_ms
        self.records.append(
            Record(self.topic, self.number, offset, now_ms, message.key, message.value, message.headers)
        )
        self.end = offset + 1
        self.last_ms = now_ms
        return offset

    def index(self, offset: int) -> int:
        """Where ``offset``, or the next that is held, stands in ``records``."""
        if self.end - self.first == len(self.records):
            return offset - self.first
        return bisect_left(self.records, offset, key=_offset)

    def out_of_range(self, offset: int) -> OffsetOutOfRangeError:
        """The error that names what is held."""
        return OffsetOutOfRangeError(self.topic, self.number, offset, self.first, self.end)

    def delete_before(self, oldest_ms: int) -> None:
        """Delete what was appended before ``oldest_ms``."""
        count = bisect_left(self.records, oldest_ms, key=_timestamp)
        if count:
            self.first = self.records[count - 1].offset + 1
            del self.records[:count]

    def compact(self) -> None:
        """Keep the newest record of each key, and those without a key."""
        newest = {record.key: record.offset for record in self.records}
        self.records = [r for r in self.records if r.key is None or newest[r.key] == r.offset]


def _offset(record: Record) -> int:
    return record.offset


def _timestamp(record: Record) -> int:
    return record.timestamp_ms


class MemoryCursor:
    """A reader's place in one partition."""

    __slots__ = ("partition", "position")

    def __init__(self, partition: MemoryPartition, position: int) -> None:
        self.partition, self.position = partition, position

    def take(self, max_records: int) -> list[Record]:
        """The next records. Raises ``OffsetOutOfRangeError``."""
        partition = self.partition
        if not partition.first <= self.position <= partition.end:
            raise partition.out_of_range(self.position)
        at = partition.index(self.position)
        records = partition.records[at : at + max_records]
        if records:
            self.position = records[-1].offset + 1
        return records


def take_from(cursors: Iterable[MemoryCursor], max_records: int, turn: int) -> list[Record]:
    """Up to ``max_records`` in all, shared among the partitions that have any."""
    ready = [cursor for cursor in cursors if cursor.position != cursor.partition.end]
    return take_in_turns(ready, max_records, turn) if ready else []
