"""From librdkafka's messages to records: the hottest lines of every stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import confluent_kafka

from penstock.log.port import Headers, Record, TopicPartition
from penstock.log.turns import take_in_turns

_new = tuple.__new__
_place = itemgetter(0, 1)

#: So many records that were handed out are still held by a shelf that never runs empty.
_COMPACT_AT = 4_096


def record_of(message: confluent_kafka.Message, topic: str) -> Record:
    """``message`` (no error) as a record of ``topic`` (short name)."""
    headers = message.headers()
    return _new(
        Record,
        (
            topic,
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            message.key(),
            message.value() or b"",
            headers_of(headers) if headers else (),
        ),
    )


def headers_of(headers: Any) -> Headers:
    """Pairs of name and bytes; Kafka's null header is an empty one here."""
    return tuple((name, value or b"") for name, value in headers)


class Shelf:
    """Records of one partition that were fetched and not yet handed out, in offset order. A ``Source`` of turns."""

    __slots__ = ("position", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.position = 0

    def __len__(self) -> int:
        return len(self.records) - self.position

    def take(self, max_records: int) -> list[Record]:
        """Up to ``max_records`` of them."""
        if self.position == 0 and len(self.records) <= max_records:
            taken, self.records = self.records, []
            return taken
        taken = self.records[self.position : self.position + max_records]
        self.position += len(taken)
        if self.position >= min(_COMPACT_AT, len(self.records)):
            del self.records[: self.position]
            self.position = 0
        return taken


class Shelves:
    """One shelf per partition that is being read. What arrives for others (just revoked, or sought) is dropped."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names  # in the cluster → short
        self._shelves: dict[tuple[str, int], Shelf] = {}
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(shelf) for shelf in self._shelves.values())

    @property
    def count(self) -> int:
        """How many partitions are read."""
        return len(self._shelves)

    def open(self, partition: TopicPartition) -> None:
        """What arrives for ``partition`` is kept from now on."""
        self._shelves[partition] = Shelf()

    def drop(self, partition: TopicPartition) -> None:
        """Forget what is there for ``partition``, and what still arrives."""
        self._shelves.pop(partition, None)

    def put(self, messages: Sequence[confluent_kafka.Message]) -> list[confluent_kafka.Message]:
        """Shelve ``messages``; returns those that are errors."""
        names = self._names
        errors = [message for message in messages if message.error() is not None]
        if errors:
            messages = [message for message in messages if message.error() is None]
        records = [record_of(message, names[message.topic() or ""]) for message in messages]
        for place, run in groupby(records, _place):
            shelf = self._shelves.get(place)
            if shelf is not None:
                shelf.records += run
        return errors

    def take(self, max_records: int) -> list[Record]:
        """The next records, shared equally among the partitions that have some."""
        ready = [shelf for shelf in self._shelves.values() if len(shelf)]
        if not ready:
            return []
        self._turn += 1
        return take_in_turns(ready, max_records, self._turn)
