"""The log in this process's memory: for backtests (in virtual time) and unit tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from penstock.clock import Clock
from penstock.errors import FencedError, LogError, UnknownTopicError
from penstock.log.assignment import share_of
from penstock.log.memory_partition import MemoryCursor, MemoryPartition, take_from
from penstock.log.partitioner import partition_for
from penstock.log.port import Bounds, Message, OnPartitions, Record, TopicConfig, TopicPartition


class _Group:
    """Who is in a group, who owns what, and how far it has come."""

    def __init__(self, topics: tuple[str, ...], partitions: int) -> None:
        self.topics, self.partitions = topics, partitions
        self.members: dict[str, MemoryMembership] = {}
        self.owners: dict[int, MemoryMembership] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.changes = 0  # members compare it with what they saw last, to notice that they must look again

    def join(self, member: MemoryMembership) -> None:
        """Become the one of its name; what the former one of that name owned is free at once."""
        self.leave(self.members.get(member.name))
        self.members[member.name] = member
        self.changes += 1

    def leave(self, member: MemoryMembership | None) -> None:
        if member is not None and self.members.get(member.name) is member:
            del self.members[member.name]
            self.owners = {p: owner for p, owner in self.owners.items() if owner is not member}
            self.changes += 1


class MemoryLog:
    """All of the log port in one process, at a few microseconds per call.

    Thread-safe. Append time is ``clock.now_ms()``; time-outs are real time, also under a virtual clock. Members
    never expire (they live and die with the process). Nothing is deleted but by ``maintain``.
    """

    def __init__(self, clock: Clock, topics: Sequence[TopicConfig] = ()) -> None:
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._topics: dict[str, tuple[MemoryPartition, ...]] = {}
        self._configs: dict[str, TopicConfig] = {}
        self._groups: dict[str, _Group] = {}
        self.ensure_topics(topics)

    def ensure_topics(self, topics: Sequence[TopicConfig]) -> None:
        """See ``Log.ensure_topics``."""
        with self._changed:
            for config in topics:
                existing = self._configs.get(config.name, config)
                if config.partitions < 1 or existing.partitions != config.partitions:
                    raise LogError(
                        f"topic {config.name} has {existing.partitions} partitions, not {config.partitions}; "
                        "changing the number means new topics: use a new pipeline name"
                    )
            for config in topics:
                if config.name not in self._topics:
                    self._topics[config.name] = tuple(MemoryPartition(config.name, p) for p in range(config.partitions))
                self._configs[config.name] = config

    def partitions(self, topic: str) -> int:
        """See ``Log.partitions``."""
        return len(self._partitions(topic))

    def append(self, messages: Sequence[Message]) -> list[int]:
        """See ``Log.append``."""
        with self._changed:
            return self._write(self._targets(messages), messages)

    def join(
        self, group: str, topics: Sequence[str], member: str, on_assigned: OnPartitions, on_revoked: OnPartitions
    ) -> MemoryMembership:
        """See ``Log.join``. Raises ``LogError`` where the topics are not co-partitioned."""
        with self._changed:
            counts = {len(self._partitions(topic)) for topic in topics}
            if len(counts) != 1:
                raise LogError(f"group {group}: its topics {', '.join(topics)} must have equal partition counts")
            state = self._groups.setdefault(group, _Group(tuple(topics), counts.pop()))
            membership = MemoryMembership(self, group, state, tuple(topics), member, on_assigned, on_revoked)
            state.join(membership)
            self._changed.notify_all()
            return membership

    def read(self, partition: TopicPartition, start: int, stop: int, max_records: int) -> list[Record]:
        """See ``Log.read``."""
        with self._changed:
            held = self._partition(*partition)
            if start < held.first:
                raise held.out_of_range(start)
            at = held.index(start)
            upto = held.index(max(start, min(stop, held.end)))
            return held.records[at : min(upto, at + max_records)]

    def bounds(self, partition: TopicPartition) -> Bounds:
        """See ``Log.bounds``."""
        with self._changed:
            held = self._partition(*partition)
            return Bounds(held.first, held.end)

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """See ``Log.committed``."""
        with self._changed:
            state = self._groups.get(group)
            return None if state is None else state.committed.get(partition)

    def tail(self, topics: Sequence[str], *, from_start: bool) -> MemoryTail:
        """See ``Log.tail``."""
        with self._changed:
            held = [partition for topic in topics for partition in self._partitions(topic)]
            return MemoryTail(self, [MemoryCursor(p, p.first if from_start else p.end) for p in held])

    def maintain(self) -> None:
        """Delete what is older than its topic's retention, and all but the newest record per key where compacted."""
        with self._changed:
            for config in self._configs.values():
                for partition in self._topics[config.name]:
                    if config.retention_ms is not None:
                        partition.delete_before(self._clock.now_ms() - config.retention_ms)
                    if config.compact:
                        partition.compact()

    def close(self) -> None:
        """See ``Log.close``; there is nothing to release."""

    def _partitions(self, topic: str) -> tuple[MemoryPartition, ...]:
        try:
            return self._topics[topic]
        except KeyError:
            raise UnknownTopicError(topic) from None

    def _partition(self, topic: str, number: int) -> MemoryPartition:
        held = self._partitions(topic)
        if not 0 <= number < len(held):
            raise UnknownTopicError(topic, number)
        return held[number]

    def _targets(self, messages: Sequence[Message]) -> list[MemoryPartition]:
        """Where each of ``messages`` goes, known before the first is written, so all are or none is."""
        targets = []
        for message in messages:
            number = message.partition
            if number is None:
                number = partition_for(message.key, len(self._partitions(message.topic)))
            targets.append(self._partition(message.topic, number))
        return targets

    def _write(self, targets: Sequence[MemoryPartition], messages: Sequence[Message]) -> list[int]:
        """Append each message to its target. The lock is held."""
        if not targets:
            return []
        now_ms = self._clock.now_ms()
        offsets = [target.append(message, now_ms) for target, message in zip(targets, messages, strict=True)]
        self._changed.notify_all()
        return offsets


class MemoryMembership:
    """See ``Membership``."""

    def __init__(
        self,
        log: MemoryLog,
        group_name: str,
        group: _Group,
        topics: tuple[str, ...],
        name: str,
        on_assigned: OnPartitions,
        on_revoked: OnPartitions,
    ) -> None:
        self.name = name
        self._log, self._group_name, self._group, self._topics = log, group_name, group, topics
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._changed = log._changed
        self._cursors: dict[TopicPartition, MemoryCursor] = {}
        self._owned: list[int] = []
        self._seen = -1
        self._turn = 0

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Membership.poll``. Raises ``FencedError`` once another of the same name has joined."""
        deadline: float | None = None
        while True:
            if self._seen != self._group.changes:
                self._rebalance()
            with self._changed:
                self._turn += 1
                records = take_from(self._cursors.values(), max_records, self._turn)
                if records or timeout_s <= 0:
                    return records
                now = time.monotonic()
                if deadline is None:
                    deadline = now + timeout_s
                elif now >= deadline:
                    return []
                if self._seen == self._group.changes:
                    self._changed.wait(deadline - now)

    def commit(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        """See ``Membership.commit``."""
        with self._changed:
            targets = self._log._targets(outputs)
            for partition in offsets:
                self._log._partition(*partition)
                if self._group.owners.get(partition.partition) is not self:
                    raise FencedError(self._group_name, partition.partition)
            if not offsets:
                self._check_current()
            self._log._write(targets, outputs)
            self._group.committed.update(offsets)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See ``Membership.seek``. Raises ``FencedError`` where ``partition`` is not owned."""
        cursor = self._cursors.get(partition)
        if cursor is None:
            raise FencedError(self._group_name, partition.partition)
        cursor.position = offset

    def committed(self, partition: TopicPartition) -> int | None:
        """See ``Membership.committed``."""
        with self._changed:
            return self._group.committed.get(partition)

    def close(self) -> None:
        """See ``Membership.close``."""
        owned, self._owned = self._owned, []
        if owned and self._group.members.get(self.name) is self:
            self._on_revoked(owned)
        with self._changed:
            self._cursors.clear()
            self._group.leave(self)
            self._changed.notify_all()

    def _check_current(self) -> None:
        if self._group.members.get(self.name) is not self:
            raise FencedError(self._group_name, self._owned[0] if self._owned else 0)

    def _rebalance(self) -> None:
        """Give up what others should own, then take what is free of our share. Callbacks run without the lock.

        1. What is to be given up is revoked while we still own it (a last commit succeeds), then freed.
        2. What is free is taken and positioned, then assigned (so that the callback may seek).
        """
        group = self._group
        with self._changed:
            self._check_current()
            self._seen = group.changes
            share = share_of(self.name, group.members, group.partitions)
        lost = [partition for partition in self._owned if partition not in share]
        if lost:
            self._on_revoked(lost)
            with self._changed:
                self._check_current()
                for partition in lost:
                    del group.owners[partition]
                    for topic in self._topics:
                        del self._cursors[TopicPartition(topic, partition)]
                group.changes += 1
                self._changed.notify_all()
        with self._changed:
            self._check_current()
            gained = [partition for partition in share if partition not in group.owners]
            for number in gained:
                group.owners[number] = self
                for topic in self._topics:
                    held = self._log._partition(topic, number)
                    key = TopicPartition(topic, number)
                    self._cursors[key] = MemoryCursor(held, group.committed.get(key, held.first))
            self._owned = [partition for partition in share if partition in self._owned or partition in gained]
        if gained:
            self._on_assigned(gained)


class MemoryTail:
    """See ``Tail``. A tail that retention has overtaken goes on with the oldest record that is held."""

    def __init__(self, log: MemoryLog, cursors: list[MemoryCursor]) -> None:
        self._changed = log._changed
        self._cursors = cursors
        self._turn = 0

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Tail.poll``."""
        deadline: float | None = None
        while True:
            with self._changed:
                for cursor in self._cursors:
                    if cursor.position < cursor.partition.first:
                        cursor.position = cursor.partition.first
                self._turn += 1
                records = take_from(self._cursors, max_records, self._turn)
                if records or timeout_s <= 0:
                    return records
                now = time.monotonic()
                if deadline is None:
                    deadline = now + timeout_s
                elif now >= deadline:
                    return []
                self._changed.wait(deadline - now)

    def close(self) -> None:
        """See ``Tail.close``."""
        self._cursors = []
