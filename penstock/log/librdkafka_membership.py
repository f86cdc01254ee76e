"""A member of a group on Kafka: one consumer for what it owns, one producer for what it commits."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import confluent_kafka
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException

from penstock.errors import FencedError, LogError, LogUnavailableError, OffsetOutOfRangeError, PenstockError
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_catalog import Catalog, open_client
from penstock.log.librdkafka_config import member_config
from penstock.log.librdkafka_errors import Complaints, error_of, log_error, passes
from penstock.log.librdkafka_fetch import check_reachable, consume
from penstock.log.librdkafka_group import leave_group
from penstock.log.librdkafka_place import GroupPlace
from penstock.log.librdkafka_records import Shelves
from penstock.log.librdkafka_transactions import GroupMovedOnError, Transactions
from penstock.log.port import Message, OnPartitions, Record, TopicPartition

_log = structlog.get_logger()

#: So many records are looked through for those of quieter partitions.
AHEAD = 2_000
#: librdkafka calls back about partitions in between; it says so only when a wait ends.
LONGEST_WAIT_S = 0.05
POSITION_TIMEOUT_S = 0.5


class Seat(NamedTuple):
    """Who sits where."""

    options: KafkaOptions
    group: str
    topics: tuple[str, ...]
    member: str


class LibrdkafkaMembership:
    """See ``Membership``.

    The group balances the partitions of the first topic; owning one of them means reading the same number of each.
    A member that the group has thrown out (paused for too long) gets a new id when it comes back: what it owned under
    the old one is lost, and commits are refused as fenced from the moment that the id is gone.
    """

    def __init__(self, seat: Seat, catalog: Catalog, on_assigned: OnPartitions, on_revoked: OnPartitions) -> None:
        self._seat, self._catalog = seat, catalog
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._names = {catalog.physical(topic): topic for topic in seat.topics}
        self._first_topic = catalog.physical(seat.topics[0])
        self._unknown_topics = [catalog.physical(topic) for topic in seat.topics[1:]]
        self._shelves = Shelves(self._names)
        self._complaints = Complaints()
        self._owned: set[int] = set()
        self._given: list[int] = []  # by the group, and not yet told to ``on_assigned``
        self._starts: dict[TopicPartition, int | None] = {}  # where to start reading; None: at the committed offset
        self._fetching: set[TopicPartition] = set()
        self._member_id = ""
        self._place = GroupPlace()
        self._committing = threading.Lock()
        self._fenced = self._closed = False
        self._raised: BaseException | None = None
        self._doubtful: tuple[tuple[Message, ...], dict[TopicPartition, int]] | None = None
        self._landed = False
        self._transactions = Transactions(seat.options, seat.group, seat.member)
        self._transactions.start()
        config = member_config(seat.options, self._complaints, seat.group, seat.member)
        self._consumer = open_client(seat.options, lambda: Consumer(config))
        self._consumer.subscribe(
            [self._first_topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Membership.poll``."""
        self._settle()
        self._check_seat()
        deadline = time.monotonic() + timeout_s
        wait = 0.0
        while True:
            self._fetch(max_records, wait)
            if self._given or self._starts:
                self._take_up()
            records = self._shelves.take(max_records)
            if records or self._place.wanted:
                self._place.note(self._consumer)
            if records:
                return records
            left = deadline - time.monotonic()
            if left <= 0:
                check_reachable(self._seat.options, self._consumer, self._first_topic, self._complaints)
                return []
            wait = min(left, LONGEST_WAIT_S)

    def commit(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        """See ``Membership.commit``. Another thread than the polling one may call it.

        1. The outcome of a commit that was in doubt is found out. Was it this one, it is not written twice.
        2. Ownership is checked, by what the group has told us.
        3. The transaction runs with the group's metadata, so that the broker checks it too. Has the group only moved
           on, while we kept our place in it, it is tried again with the metadata of now.
        """
        with self._committing:
            self._commit(outputs, offsets)

    def _commit(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        # 1.
        self._finish_doubtful()
        if self._landed:
            self._landed = False
            if self._doubtful == (tuple(outputs), dict(offsets)):
                return
            raise LogError(
                f"group {self._seat.group}: a commit that was in doubt was written after all, and then another was "
                "asked for; start again from what is committed"
            )
        # 2.
        self._check_seat()
        for partition in offsets:
            self._check_owned(partition)
        targets = self._catalog.targets(outputs)
        if not outputs and not offsets:
            return
        # 3.
        ends = [
            confluent_kafka.TopicPartition(self._catalog.physical(p.topic), p.partition, offset)
            for p, offset in offsets.items()
        ]
        deadline = time.monotonic() + self._seat.options.request_timeout_ms / 1000
        self._doubtful = (tuple(outputs), dict(offsets))
        seen = -1
        while True:
            seen, metadata, member_id = self._place.newer_than(seen, self._consumer)
            if offsets and member_id != self._member_id:
                raise FencedError(self._seat.group, min(p.partition for p in offsets))
            try:
                self._transactions.run(targets, outputs, ends, metadata)
            except GroupMovedOnError as error:
                if time.monotonic() >= deadline:
                    raise LogUnavailableError(f"{error}; nothing was written") from error
                time.sleep(0.01)  # until the heartbeat has told the consumer too
            else:
                return

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See ``Membership.seek``. Raises ``FencedError`` where ``partition`` is not owned."""
        self._check_owned(partition)
        self._shelves.drop(partition)
        self._starts[partition] = offset

    def committed(self, partition: TopicPartition) -> int | None:
        """See ``Membership.committed``."""
        self._settle()
        timeout_s = self._seat.options.request_timeout_ms / 1000
        return self._committed([partition], timeout_s)[partition]

    def close(self) -> None:
        """See ``Membership.close``."""
        if self._closed:
            return
        try:
            if self._owned:
                self._on_revoked(sorted(self._owned))
        finally:
            self._closed = True
            self._owned.clear()
            self._given.clear()
            member_id = self._consumer.memberid()
            self._transactions.close()
            self._consumer.close()
            if member_id and not (self._fenced or self._transactions.fenced):
                leave_group(self._seat.options, self._seat.group, self._seat.member, member_id)

    # What librdkafka calls, from inside ``consume``.

    def _assigned(self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        consumer.incremental_assign([])  # what is read, and from where, is settled after this callback
        if self._closed:  # a consumer that is closing answers no question any more: it would hang
            return
        self._member_id = consumer.memberid()
        self._given += [partition.partition for partition in partitions]

    def _revoked(self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        if not self._closed:
            self._place.note(consumer)  # a last commit may wait for it
        self._give_up([partition.partition for partition in partitions])

    def _lost(self, _: Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self._member_id = ""
        self._place.lose()
        self._give_up([partition.partition for partition in partitions])

    def _give_up(self, numbers: Sequence[int]) -> None:
        told = sorted(self._owned.intersection(numbers))
        try:
            if told:
                self._on_revoked(told)
        except BaseException as error:  # noqa: BLE001 - raised again by the poll: it must not pass through C
            self._raised = error
        self._owned.difference_update(numbers)
        self._given = [number for number in self._given if number not in numbers]
        for partition in [p for p in self._starts if p.partition in numbers]:
            del self._starts[partition]
        self._stop([p for p in self._fetching if p.partition in numbers])

    # Reading.

    def _fetch(self, max_records: int, wait_s: float) -> None:
        wanted = max_records if self._shelves.count < 2 else max(max_records, AHEAD)
        wanted = max(1, wanted - len(self._shelves))
        messages = consume(self._consumer, wanted, wait_s)
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        for failed in self._shelves.put(messages):
            self._heard(failed)

    def _heard(self, failed: confluent_kafka.Message) -> None:
        error = failed.error()
        assert error is not None  # noqa: S101 - only those with an error come here
        if error.code() == KafkaError._FATAL or error.fatal():
            self._fenced = True
            self._check_seat()
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            partition = TopicPartition(self._names[failed.topic() or ""], failed.partition() or 0)
            if partition in self._fetching:  # _take_up looks at it, and raises
                self._starts[partition] = failed.offset()
        elif not passes(error) and error.code() != KafkaError._MAX_POLL_EXCEEDED:
            raise log_error(self._seat.options, "reading", error, self._complaints)

    def _take_up(self) -> None:
        """Tell of new partitions, and start to read them."""
        given, self._given = sorted(self._given), []
        if given:
            self._owned.update(given)
            self._find_leaders()
            self._starts |= {TopicPartition(topic, n): None for n in given for topic in self._seat.topics}
            self._on_assigned(given)
        unknown = [partition for partition, offset in self._starts.items() if offset is None]
        try:
            found = self._committed(unknown, POSITION_TIMEOUT_S) if unknown else {}
        except LogUnavailableError as error:
            _log.debug("not read yet", group=self._seat.group, why=str(error))
            found = {}
        self._start({p: OFFSET_BEGINNING if committed is None else committed for p, committed in found.items()})
        sought = {partition: offset for partition, offset in self._starts.items() if offset is not None}
        for partition, offset in sought.items():
            self._check_range(partition, offset)
        self._start(sought)

    def _find_leaders(self) -> None:
        """The client knows the first topic's; it would look for the others' in its own time, up to a second."""
        others, self._unknown_topics = self._unknown_topics, []
        try:
            for topic in others:
                self._consumer.list_topics(topic, POSITION_TIMEOUT_S)
        except KafkaException as exception:
            _log.debug("the client has to find the leaders itself", why=str(error_of(exception)))

    def _start(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._stop(self._fetching.intersection(offsets))
        for partition in offsets:
            del self._starts[partition]
            self._shelves.open(partition)
        self._fetching.update(offsets)
        self._consumer.incremental_assign([self._physical(p, offset) for p, offset in offsets.items()])

    def _stop(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            self._shelves.drop(partition)
        self._fetching.difference_update(partitions)
        self._consumer.incremental_unassign([self._physical(partition) for partition in partitions])

    def _check_range(self, partition: TopicPartition, offset: int) -> None:
        first, end = self._catalog.bounds(partition)
        if not first <= offset <= end:
            raise OffsetOutOfRangeError(*partition, offset, first, end)

    def _committed(self, partitions: Sequence[TopicPartition], timeout_s: float) -> dict[TopicPartition, int | None]:
        wanted = [self._physical(partition) for partition in partitions]
        try:
            found = self._consumer.committed(wanted, timeout_s)
        except KafkaException as exception:
            what = f"asking for the offsets of group {self._seat.group}"
            raise log_error(self._seat.options, what, error_of(exception), self._complaints) from exception
        offsets: dict[TopicPartition, int | None] = {}
        for partition, answer in zip(partitions, found, strict=True):
            if answer.error is not None:
                raise log_error(self._seat.options, "asking for offsets", answer.error, self._complaints)
            offsets[partition] = answer.offset if answer.offset >= 0 else None
        return offsets

    # What must hold.

    def _settle(self) -> None:
        """Find out how a commit that was in doubt ended, unless a commit is under way: that one does.

        Raises:
            LogUnavailableError: it is not known yet.
        """
        if self._transactions.unfinished and self._committing.acquire(blocking=False):
            try:
                self._finish_doubtful()
            finally:
                self._committing.release()

    def _finish_doubtful(self) -> None:
        if self._transactions.unfinished:
            self._landed = self._transactions.finish() == "committed"

    def _check_seat(self) -> None:
        if self._closed:
            raise PenstockError(f"{self._seat.group}/{self._seat.member}: this membership is closed")
        if self._fenced or self._transactions.fenced:
            raise FencedError(self._seat.group, min(self._owned, default=0))

    def _check_owned(self, partition: TopicPartition) -> None:
        if partition.partition not in self._owned or partition.topic not in self._seat.topics:
            raise FencedError(self._seat.group, partition.partition)

    def _physical(self, partition: TopicPartition, offset: int = OFFSET_BEGINNING) -> confluent_kafka.TopicPartition:
        return confluent_kafka.TopicPartition(self._catalog.physical(partition.topic), partition.partition, offset)
