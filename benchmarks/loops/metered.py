"""A log whose memberships say how much CPU time of the calling thread their polls and commits took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from penstock.log.port import Log, Membership, Message, OnPartitions, Record, TopicPartition

P = ParamSpec("P")
R = TypeVar("R")


def metered(spent: Counter[str], part: str, function: Callable[P, R]) -> Callable[P, R]:
    """``function``, its thread's CPU nanoseconds added to ``spent[part]``."""

    def call(*arguments: P.args, **named: P.kwargs) -> R:
        began = time.thread_time_ns()
        try:
            return function(*arguments, **named)
        finally:
            spent[part] += time.thread_time_ns() - began

    return call


class MeteredMembership:
    """Hands everything on; ``fetch`` and ``produce`` are counted."""

    def __init__(self, inner: Membership, spent: Counter[str]) -> None:
        self._inner = inner
        self._poll = metered(spent, "fetch", inner.poll)
        self._commit = metered(spent, "produce", inner.commit)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Membership.poll``."""
        return self._poll(max_records, timeout_s)

    def commit(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        """See ``Membership.commit``."""
        self._commit(outputs, offsets)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See ``Membership.seek``."""
        self._inner.seek(partition, offset)

    def committed(self, partition: TopicPartition) -> int | None:
        """See ``Membership.committed``."""
        return self._inner.committed(partition)

    def close(self) -> None:
        """See ``Membership.close``."""
        self._inner.close()


class MeteredLog:
    """``inner``, but for the memberships that it hands out."""

    def __init__(self, inner: Log, spent: Counter[str]) -> None:
        self._inner, self._spent = inner, spent
        self.ensure_topics, self.partitions, self.append = inner.ensure_topics, inner.partitions, inner.append
        self.read, self.bounds, self.committed = inner.read, inner.bounds, inner.committed
        self.tail, self.close = inner.tail, inner.close

    def join(
        self, group: str, topics: Sequence[str], member: str, on_assigned: OnPartitions, on_revoked: OnPartitions
    ) -> Membership:
        """See ``Log.join``."""
        return MeteredMembership(self._inner.join(group, topics, member, on_assigned, on_revoked), self._spent)
