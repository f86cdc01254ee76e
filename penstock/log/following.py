"""Follows topics of the log from their recent past into the present, each record once and in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.errors import OffsetOutOfRangeError
from penstock.log.port import Log, Record, Tail, TopicPartition

CHUNK = 1000


class Follower:
    """First ``history()``, then ``poll()`` for ever; after ``close()``, ``history()`` goes on where it was left.

    ``history_limits``: per topic, how many offsets before its end to begin with (None: at the oldest record).
    Not thread-safe.
    """

    def __init__(self, log: Log, history_limits: Mapping[str, int | None]) -> None:
        self._log = log
        self._topics = list(history_limits)
        self._tail: Tail | None = None
        self._next: dict[TopicPartition, int] = {}
        for topic, limit in history_limits.items():
            for number in range(log.partitions(topic)):
                partition = TopicPartition(topic, number)
                first, end = log.bounds(partition)
                self._next[partition] = first if limit is None else max(first, end - limit)

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of each partition."""
        return dict(self._next)

    def history(self) -> Iterator[list[Record]]:
        """What the partitions hold now, topic by topic.

        1. The tail is opened, so that nothing appended from here on is missed. 2. The ends are read. 3. History is
        read up to the ends. ``poll`` drops what the tail repeats of it.

        Raises:
            LogUnavailableError: try again; what was yielded is not repeated.
        """
        if self._tail is None:
            self._tail = self._log.tail(self._topics, from_start=False)
        ends = {partition: self._log.bounds(partition).end for partition in self._next}
        for partition, end in ends.items():
            while self._next[partition] < end:
                try:
                    records = self._log.read(partition, self._next[partition], end, CHUNK)
                except OffsetOutOfRangeError as error:  # retention went on meanwhile
                    self._next[partition] = max(error.first, self._next[partition] + 1)
                    continue
                self._next[partition] = records[-1].offset + 1 if records else end
                yield records

    def poll(self, timeout_s: float) -> list[Record]:
        """New records; empty after ``timeout_s``. Only after ``history``. Raises ``LogUnavailableError``: try again."""
        if self._tail is None:
            raise RuntimeError("poll before history: what came in between would be missed")
        fresh = []
        for record in self._tail.poll(CHUNK, timeout_s):
            partition = TopicPartition(record.topic, record.partition)
            if record.offset >= self._next.get(partition, 0):
                self._next[partition] = record.offset + 1
                fresh.append(record)
        return fresh

    def close(self) -> None:
        """Release the tail. Idempotent."""
        if self._tail is not None:
            self._tail.close()
            self._tail = None
