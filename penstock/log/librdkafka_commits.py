"""What a member of a group commits, and how it learns what became of a commit that was in doubt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer

from penstock.errors import FencedError, LogError, LogUnavailableError
from penstock.log.librdkafka_catalog import Catalog
from penstock.log.librdkafka_place import GroupPlace, Seat
from penstock.log.librdkafka_transactions import GroupMovedOnError, Transactions
from penstock.log.port import Message, TopicPartition

#: The heartbeat has to tell the consumer, too, that the group has moved on.
_PAUSE_S = 0.01


class MemberCommits:
    """One commit at a time, by any thread; the polling one may ask what became of the last.

    ``owns`` says what the group has told us so far.
    """

    def __init__(self, seat: Seat, catalog: Catalog, place: GroupPlace, owns: Callable[[TopicPartition], bool]) -> None:
        self._seat, self._catalog, self._place, self._owns = seat, catalog, place, owns
        self._committing = threading.Lock()
        self._doubtful: tuple[tuple[Message, ...], dict[TopicPartition, int]] | None = None
        self._landed = False
        self._fenced = False
        self._transactions = Transactions(seat.options, seat.group, seat.member)
        self._transactions.start()

    @property
    def fenced(self) -> bool:
        """Whether a namesake has taken over, or a commit was refused as another's."""
        return self._fenced or self._transactions.fenced

    def fence(self) -> None:
        """The consumer was told that a namesake has taken over."""
        self._fenced = True

    def commit(self, consumer: Consumer, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        """See ``Membership.commit``.

        1. The outcome of a commit that was in doubt is found out. Was it this one, it is not written twice.
        2. The transaction runs with the group's metadata, so that the broker checks ownership too.
        3. Ownership is checked, by what the group has told us, after the metadata were noted: a partition that is
           still ours then was so when they were noted, and is nobody else's before they are outdated.
        4. Has the group only moved on, while we kept our place in it, it is tried again with the metadata of now.
        """
        with self._committing:
            # 1.
            self._finish_doubtful()
            if self._is_written(outputs, offsets):
                return
            self._check(offsets)
            targets = self._catalog.targets(outputs)
            if not outputs and not offsets:
                return
            ends = [self._catalog.place(partition, offset) for partition, offset in offsets.items()]
            timeout_s = self._seat.options.request_timeout_ms / 1000
            deadline = time.monotonic() + timeout_s
            tenure, seen = self._place.tenure, -1
            self._doubtful = (tuple(outputs), dict(offsets))
            while True:
                # 2.
                metadata = None
                if offsets:
                    noted = self._place.newer_than(seen, consumer, timeout_s)
                    if noted is None and not self._place.lost:
                        raise LogUnavailableError(
                            f"group {self._seat.group}: its state is not known; nothing was written"
                        )
                    # 3.
                    self._check(offsets)
                    if noted is None or not self._place.is_ours(noted) or tenure != self._place.tenure:
                        raise FencedError(self._seat.group, min(p.partition for p in offsets))
                    seen, metadata = noted.number, noted.metadata
                try:
                    self._transactions.run(targets, outputs, ends, metadata)
                except GroupMovedOnError as error:
                    # 4.
                    if time.monotonic() >= deadline:
                        raise LogUnavailableError(f"{error}; nothing was written") from error
                    time.sleep(_PAUSE_S)
                else:
                    return

    def settle(self) -> None:
        """Find out how a commit that was in doubt ended, unless a commit is under way: that one does.

        Raises:
            LogUnavailableError: it is not known yet.
        """
        if self._transactions.unfinished and self._committing.acquire(blocking=False):
            try:
                self._finish_doubtful()
            finally:
                self._committing.release()

    def close(self) -> None:
        """Let go of the producer."""
        self._transactions.close()

    def _finish_doubtful(self) -> None:
        if self._transactions.unfinished:
            self._landed = self._transactions.finish() == "committed"

    def _is_written(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> bool:
        landed, self._landed = self._landed, False
        if landed and self._doubtful != (tuple(outputs), dict(offsets)):
            raise LogError(
                f"group {self._seat.group}: a commit that was in doubt was written after all, and then another was "
                "asked for; start again from what is committed"
            )
        return landed

    def _check(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.fenced:
            raise FencedError(self._seat.group, min((p.partition for p in offsets), default=0))
        for partition in offsets:
            if not self._owns(partition):
                raise FencedError(self._seat.group, partition.partition)
