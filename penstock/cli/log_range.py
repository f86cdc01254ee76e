"""A range of the log as people write it: ``TOPIC/PARTITION:FROM-TO``."""

from __future__ import annotations

import re
from typing import NamedTuple

from penstock.errors import UsageError
from penstock.log.port import Log, Record, TopicPartition

_RANGE = re.compile(r"^(?P<topic>[a-z-]+)/(?P<partition>\d{1,9}):(?P<first>\d{1,18})-(?P<stop>\d{1,18})$", re.ASCII)
_BATCH = 2000


class LogRange(NamedTuple):
    """Offsets [first, stop) of a partition."""

    topic: str
    partition: int
    first: int
    stop: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}:{self.first}-{self.stop}"


def parse_range(option: str, text: str, topics: tuple[str, ...]) -> LogRange:
    """Read ``text``, which was given to ``option``; ``topics`` are those that fit.

    Raises:
        UsageError: it is written otherwise, of another topic, or empty.
    """
    match = _RANGE.match(text)
    if match is None:
        raise UsageError(f"{option} {text!r}: write TOPIC/PARTITION:FROM-TO, for instance {topics[0]}/0:0-5000")
    if match["topic"] not in topics:
        raise UsageError(f"{option} {text!r}: the topic must be one of {', '.join(topics)}")
    found = LogRange(match["topic"], int(match["partition"]), int(match["first"]), int(match["stop"]))
    if found.first >= found.stop:
        raise UsageError(f"{option} {text!r}: the range is empty; FROM must lie below TO")
    return found


def read_range(log: Log, wanted: LogRange) -> list[Record]:
    """The records of a range, in order.

    Raises:
        UsageError: the log does not hold the whole range, or no record lies in it.
        UnknownTopicError: there is no such partition.
    """
    where = TopicPartition(wanted.topic, wanted.partition)
    bounds = log.bounds(where)
    if wanted.first < bounds.first or wanted.stop > bounds.end:
        raise UsageError(f"{wanted}: the log holds offsets {bounds.first} to {bounds.end} of it")
    records: list[Record] = []
    position = wanted.first
    while position < wanted.stop:
        batch = log.read(where, position, wanted.stop, _BATCH)
        if not batch:
            break
        records += batch
        position = batch[-1].offset + 1
    if not records:
        raise UsageError(f"{wanted}: no records lie between these offsets")
    return records
