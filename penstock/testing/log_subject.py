"""What the conformance checks of the log share: the log under test, a member that listens, and patience."""

# ruff: noqa: S101 - checks assert; they run in test suites only

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

from penstock.clock import Clock, VirtualClock
from penstock.errors import PenstockError
from penstock.log.port import Log, Membership, Message, Record, TopicConfig, TopicPartition

TOPICS = (TopicConfig("in", 2), TopicConfig("side", 2), TopicConfig("out", 1), TopicConfig("one", 1))
IN = TopicPartition("in", 0)
OUT = TopicPartition("out", 0)
ONE = TopicPartition("one", 0)

#: How long a check waits for what must happen soon, in seconds.
PATIENCE_S = 20.0


class Subject(NamedTuple):
    """An implementation under test. ``open_log`` returns a new, empty log; ``maintain`` applies retention to one."""

    name: str
    implementation: type
    open_log: Callable[[Clock], Log]
    maintain: Callable[[Log], None] | None = None


class Listener:
    """Takes a seat in a group and writes down what its callbacks were told."""

    def __init__(self, log: Log, group: str, topics: Sequence[str], member: str) -> None:
        self.told: list[tuple[str, list[int]]] = []
        self.membership: Membership = log.join(group, topics, member, self._assigned, self._revoked)

    def _assigned(self, partitions: Sequence[int]) -> None:
        self.told.append(("assigned", sorted(partitions)))

    def _revoked(self, partitions: Sequence[int]) -> None:
        self.told.append(("revoked", sorted(partitions)))

    @property
    def owned(self) -> list[int]:
        """The partitions that the callbacks leave us with."""
        owned: set[int] = set()
        for what, partitions in self.told:
            owned = owned | set(partitions) if what == "assigned" else owned - set(partitions)
        return sorted(owned)

    def take(self, count: int) -> list[Record]:
        """Poll until ``count`` records came; fails when they do not come."""
        return drain(self.membership.poll, count)


def drain(poll: Callable[[int, float], list[Record]], count: int) -> list[Record]:
    """Poll until ``count`` records came, and check that no more do at once."""
    records: list[Record] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records came within {PATIENCE_S} s"
        records += poll(1000, 0.05)
    assert len(records) == count, f"{len(records)} records came, not {count}"
    return records


def share(listeners: Sequence[Listener], partitions: int) -> None:
    """Let all poll in turn (without records to give) until they share all ``partitions`` evenly; never do two own one.

    Who gets which is the implementation's affair.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        owned = [listener.owned for listener in listeners]
        numbers = sorted(number for of_one in owned for number in of_one)
        assert len(numbers) == len(set(numbers)), f"owned twice: {owned}"
        sizes = [len(of_one) for of_one in owned]
        if numbers == list(range(partitions)) and max(sizes) - min(sizes) <= 1:
            return
        assert time.monotonic() < deadline, f"owned: {owned}, of {partitions}"
        for listener in listeners:
            listener.membership.poll(1, 0.01)


def becomes(look: Callable[[], object], expected: object) -> None:
    """What a commit wrote is seen soon after it returned, if not at once: look until it is as ``expected``."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := look()) != expected:
        assert time.monotonic() < deadline, f"{found!r}, expected {expected!r}"
        time.sleep(0.005)


@contextmanager
def raises(expected: type[PenstockError]) -> Iterator[None]:
    """The block must raise ``expected``."""
    try:
        yield
    except expected:
        return
    raise AssertionError(f"{expected.__name__} was not raised")


@contextmanager
def opened(subject: Subject, clock: Clock | None = None) -> Iterator[Log]:
    """A new log with ``TOPICS``."""
    with closing(subject.open_log(clock or VirtualClock(1_000))) as log:
        log.ensure_topics(TOPICS)
        yield log


def messages(topic: str, count: int, partition: int | None = 0, start: int = 0) -> list[Message]:
    """Numbered messages."""
    return [Message(topic, b"k%d" % n, b"%d" % n, partition) for n in range(start, start + count)]


def all_of(log: Log, partition: TopicPartition) -> list[Record]:
    """Everything that a partition holds."""
    bounds = log.bounds(partition)
    return log.read(partition, bounds.first, bounds.end, 1_000_000)


def values(records: Sequence[Record]) -> list[bytes]:
    """The values, in order."""
    return [record.value for record in records]
