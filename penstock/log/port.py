"""The log port: what every implementation of the log does, and nothing that only one can do.

A log holds topics; a topic holds partitions; a partition is a sequence of records with growing offsets (gaps are
allowed). Topic names here are the short ones of the topology (``requests``); an implementation is opened for one
pipeline and maps them to ``<pipeline>.<topic>.v1``.

Guarantees of all implementations (``penstock.testing.log_conformance`` checks them):

1. A membership's outputs and input offsets commit atomically, or not at all.
2. No input is skipped and none is delivered twice to the same owner without a seek.
3. A reader sees committed records only, each once, in offset order within a partition.
4. A stale owner of a partition is fenced: its commit raises ``FencedError`` and writes nothing.
5. What ``append`` acknowledged is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

Headers: TypeAlias = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    """A partition of a topic (short name)."""

    topic: str
    partition: int


class Record(NamedTuple):
    """What was read. ``timestamp_ms`` is the append time, never the event time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: Headers = ()


class Message(NamedTuple):
    """What is to be appended. ``partition`` None: by Kafka's murmur2 of ``key`` (no key: partition 0)."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None
    headers: Headers = ()


class TopicConfig(NamedTuple):
    """How a topic is created. ``retention_ms`` None: for ever. ``compact``: the newest record per key stays."""

    name: str
    partitions: int
    retention_ms: int | None = None
    compact: bool = False


class Bounds(NamedTuple):
    """``first``: the oldest offset that is held (= ``end`` when empty); ``end``: the next offset to be read or written.

    Below ``end`` everything is settled: where transactions are open, it is the first offset of the oldest of them.
    """

    first: int
    end: int


OnPartitions: TypeAlias = Callable[[Sequence[int]], None]


class Membership(Protocol):
    """One member of a group. The topics of a group are co-partitioned: owning partition p means owning p of each.

    Not thread-safe: one thread polls, commits and closes it.
    """

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records of the owned partitions, in offset order within each; empty after ``timeout_s``.

        Calls ``on_revoked`` and then ``on_assigned`` (from inside, before it returns records) when ownership changes.
        A newly assigned partition starts at its committed offset, or at the oldest record if it has none.

        Raises:
            OffsetOutOfRangeError: retention passed the position; nothing was skipped.
            FencedError: another member of the same name has joined; this one can only be closed.
            LogUnavailableError: try again later; positions are unchanged.
        """
        ...

    def commit(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        """Append ``outputs`` and set the group's committed ``offsets`` (the next to read) in one transaction.

        Readers see it soon after the return, if not at once; ``committed`` shows it at once.

        Raises:
            FencedError: another member owns a partition of ``offsets``; nothing was written.
            UnknownTopicError: an output names a topic or partition that is not there; nothing was written.
            LogUnavailableError: repeat the very same call, which never writes twice; or close, and start from what
                is committed. Another commit is refused with ``LogError`` if the first was written after all.
        """
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """The next poll of an owned ``partition`` starts at ``offset``."""
        ...

    def committed(self, partition: TopicPartition) -> int | None:
        """The group's committed offset of ``partition``, or None where nothing was committed."""
        ...

    def close(self) -> None:
        """Leave the group at once, so that others can take over. Calls ``on_revoked``. Idempotent."""
        ...


class Tail(Protocol):
    """Follows topics without a group: every reader sees everything. Not thread-safe."""

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next committed records, in offset order within a partition; empty after ``timeout_s``."""
        ...

    def close(self) -> None:
        """Release what the tail holds. Idempotent."""
        ...


class Log(Protocol):
    """A partitioned, ordered, durable log of one pipeline. Thread-safe, but for what it hands out."""

    def ensure_topics(self, topics: Sequence[TopicConfig]) -> None:
        """Create the topics that are missing. Idempotent.

        Raises:
            LogError: a topic exists with another number of partitions; nothing was created.
        """
        ...

    def partitions(self, topic: str) -> int:
        """How many partitions ``topic`` has. Raises ``UnknownTopicError``."""
        ...

    def append(self, messages: Sequence[Message]) -> list[int]:
        """Append ``messages`` (all, or none) and return their offsets once they are durable.

        Raises:
            UnknownTopicError: nothing was written.
            LogUnavailableError: it is not known whether they were written; repeat with the same ids.
        """
        ...

    def join(
        self, group: str, topics: Sequence[str], member: str, on_assigned: OnPartitions, on_revoked: OnPartitions
    ) -> Membership:
        """Become ``member`` (a stable name) of ``group``. A second member of the same name fences the first."""
        ...

    def read(self, partition: TopicPartition, start: int, stop: int, max_records: int) -> list[Record]:
        """Up to ``max_records`` committed records with ``start`` ≤ offset < ``stop``.

        Raises:
            OffsetOutOfRangeError: ``start`` is older than the oldest record that is held.
        """
        ...

    def bounds(self, partition: TopicPartition) -> Bounds:
        """What ``partition`` holds now. Raises ``UnknownTopicError``."""
        ...

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """The committed offset of ``group``, or None."""
        ...

    def tail(self, topics: Sequence[str], *, from_start: bool) -> Tail:
        """Follow all partitions of ``topics``, from the oldest record or from what is appended after this call."""
        ...

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        ...
