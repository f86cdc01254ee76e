"""Finding records: from the newest back, from the oldest on, by append time; none reads all that a log holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from penstock.errors import OffsetOutOfRangeError
from penstock.log.port import Log, Record, TopicPartition

Match: TypeAlias = Callable[[Record], bool]

#: Records that are read at once.
PIECE = 2000


def newest(log: Log, where: TopicPartition, match: Match, stop: int | None = None) -> Record | None:
    """The newest record below offset ``stop`` (None: the end) for which ``match`` holds.

    Raises:
        UnknownTopicError, LogUnavailableError.
    """
    first, end = log.bounds(where)
    stop = end if stop is None else min(stop, end)
    while first < stop:
        start = max(first, stop - PIECE)
        try:
            piece = list(between(log, where, start, stop))
        except OffsetOutOfRangeError as error:  # retention went on meanwhile
            first = max(error.first, start + 1)
            continue
        found = next((record for record in reversed(piece) if match(record)), None)
        if found is not None:
            return found
        stop = start
    return None


def oldest(log: Log, where: TopicPartition, match: Match, start: int = 0) -> Record | None:
    """The oldest record from offset ``start`` on for which ``match`` holds. Raises as `newest`."""
    first, end = log.bounds(where)
    return next((record for record in between(log, where, max(first, start), end) if match(record)), None)


def between(log: Log, where: TopicPartition, start: int, stop: int) -> Iterator[Record]:
    """The records with ``start`` ≤ offset < ``stop``. Raises as `Log.read`."""
    while start < stop:
        records = log.read(where, start, stop, PIECE)
        if not records:
            return
        yield from records
        start = records[-1].offset + 1


def first_at(log: Log, where: TopicPartition, timestamp_ms: int) -> int:
    """The first offset that was appended at or after ``timestamp_ms``, by halving: append times never fall.

    The end where there is none. A log whose clock was set back in between may answer a little late.
    """
    low, high = log.bounds(where)
    while low < high:
        middle = (low + high) // 2
        record = next(iter(log.read(where, middle, high, 1)), None)  # gaps: the next record there is
        if record is None or record.timestamp_ms >= timestamp_ms:
            high = middle
        else:
            low = record.offset + 1
    return low
