"""Ranges of a partition, read to their end in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.log.port import Log, Record, TopicPartition

#: Records asked for at once.
PIECE = 500


def read_range(log: Log, where: TopicPartition, start: int, stop: int) -> Iterator[Record]:
    """The records with ``start`` ≤ offset < ``stop``, as far as they are committed.

    Raises:
        OffsetOutOfRangeError: ``start`` is older than what is held.
        LogUnavailableError: the log is away.
    """
    while start < stop:
        records = log.read(where, start, stop, PIECE)
        if not records:
            return
        yield from records
        start = records[-1].offset + 1
