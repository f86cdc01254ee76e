"""A member of a group on the embedded log."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from penstock.clock import Clock
from penstock.errors import FencedError
from penstock.log import embedded_groups as groups
from penstock.log.assignment import share_of
from penstock.log.embedded_file import translated
from penstock.log.embedded_heart import Heart
from penstock.log.embedded_reader import Reader, snapshot
from penstock.log.embedded_records import Catalog, append_records, bounds_of
from penstock.log.embedded_writer import Writer
from penstock.log.port import Message, OnPartitions, Record, TopicPartition


class Parts(NamedTuple):
    """What the log lends to its members."""

    writer: Writer
    heart: Heart
    catalog: Catalog
    clock: Clock


class Seat(NamedTuple):
    """Which member of which group; ``key`` names the group in the file, ``group`` in messages."""

    key: str
    group: str
    topics: tuple[str, ...]
    partitions: int
    member: str


class EmbeddedMembership:
    """See ``Membership``."""

    def __init__(
        self, parts: Parts, seat: Seat, reader: Reader, on_assigned: OnPartitions, on_revoked: OnPartitions
    ) -> None:
        self._parts, self._seat, self._reader = parts, seat, reader
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._owned: list[int] = []
        self._closed = False
        self._enter()

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Membership.poll``. Raises ``FencedError`` once another of the same name has joined."""
        return self._reader.poll(max_records, timeout_s, self._look)

    def commit(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        """See ``Membership.commit``."""
        connection, catalog = self._reader.connection, self._parts.catalog
        with translated(self._reader.path):
            targets = catalog.targets(outputs, connection)
            rows = [(self._seat.key, catalog.place(*tp, connection).id, offset) for tp, offset in offsets.items()]
        numbers = sorted({tp.partition for tp in offsets})

        def work(connection: sqlite3.Connection) -> None:
            self._check_owner(connection, numbers)
            append_records(connection, targets, outputs, self._parts.clock.now_ms())
            connection.executemany("INSERT OR REPLACE INTO committed VALUES (?, ?, ?)", rows)

        self._parts.writer.write(work)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See ``Membership.seek``. Raises ``FencedError`` where ``partition`` is not owned."""
        for cursor in self._reader.cursors:
            if (cursor.place.topic, cursor.place.number) == partition:
                cursor.position = offset
                self._reader.look_again()
                return
        raise FencedError(self._seat.group, partition.partition)

    def committed(self, partition: TopicPartition) -> int | None:
        """See ``Membership.committed``."""
        connection = self._reader.connection
        with translated(self._reader.path):
            place = self._parts.catalog.place(*partition, connection)
            return groups.committed_of(connection, self._seat.key, place.id)

    def close(self) -> None:
        """See ``Membership.close``."""
        if self._closed:
            return
        self._closed = True
        owned, self._owned = self._owned, []
        try:
            with translated(self._reader.path):
                current = groups.epoch_of(self._reader.connection, self._seat.key, self._seat.member) == self._epoch
            if owned and current:
                self._on_revoked(owned)
            if current:
                self._parts.writer.write(lambda connection: groups.leave(connection, self._seat.key, self._epoch))
        finally:
            self._parts.heart.remove(self._epoch)
            self._reader.close()

    def _enter(self) -> None:
        seat, alive = self._seat, self._parts.heart.alive()
        self._epoch = self._parts.writer.write(
            lambda connection: groups.enter(connection, seat.key, seat.partitions, seat.member, alive)
        )
        self._seen = -1
        self._parts.heart.add(seat.key, self._epoch)

    def _check_owner(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
        for number in numbers:
            if groups.owner_of(connection, self._seat.key, number) != self._epoch:
                raise FencedError(self._seat.group, number)
        if not numbers and groups.epoch_of(connection, self._seat.key, self._seat.member) != self._epoch:
            raise FencedError(self._seat.group, 0)

    def _look(self) -> None:
        with translated(self._reader.path):
            changes = groups.changes_of(self._reader.connection, self._seat.key)
        if changes != self._seen:
            self._rebalance()

    def _rebalance(self) -> None:
        """Give up what others should own, then take what is free of our share.

        1. See who is there. Nobody of our name: this session expired, so enter again. Another one: fenced.
        2. What is not ours any more is revoked (while we own it, a last commit succeeds), then freed.
        3. What is free is taken and positioned, then assigned (so that the callback may seek).
        4. Only when all succeeded is the change seen: after an error the next poll starts over.
        """
        seat, writer = self._seat, self._parts.writer
        with translated(self._reader.path), snapshot(self._reader.connection):
            group = groups.view(self._reader.connection, seat.key)  # 1
        epoch = group.members.get(seat.member)
        if epoch is None:
            self._revoke(self._owned)
            self._parts.heart.remove(self._epoch)
            self._enter()
            return
        if epoch != self._epoch:
            raise FencedError(seat.group, self._owned[0] if self._owned else 0)
        share = share_of(seat.member, group.members, seat.partitions)
        mine = [number for number, owner in group.owners.items() if owner == epoch]
        self._revoke([number for number in self._owned if number not in share or number not in mine])  # 2
        surplus = [number for number in mine if number not in share]
        if surplus:
            writer.write(lambda connection: groups.give_up(connection, seat.key, epoch, surplus))
        if any(group.owners.get(number, epoch) == epoch and number not in self._owned for number in share):  # 3
            held = writer.write(lambda connection: groups.take_ownership(connection, seat.key, epoch, share))
            self._assign([number for number in held if number not in self._owned])
        self._seen = group.changes  # 4

    def _revoke(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        revoked = list(partitions)
        self._on_revoked(revoked)
        self._owned = [number for number in self._owned if number not in revoked]
        self._reader.cursors = [c for c in self._reader.cursors if c.place.number not in revoked]

    def _assign(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        connection = self._reader.connection
        for number in partitions:
            for topic in self._seat.topics:
                with translated(self._reader.path):
                    place = self._parts.catalog.place(topic, number, connection)
                    position = groups.committed_of(connection, self._seat.key, place.id)
                    oldest = bounds_of(connection, [place])[0].first
                self._reader.follow(place, oldest if position is None else position)
        self._owned = sorted({*self._owned, *partitions})
        self._on_assigned(list(partitions))
