"""A member of a group on Kafka: one consumer for what it owns, one producer for what it commits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import confluent_kafka
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from penstock.errors import FencedError, LogError, PenstockError
from penstock.log.bounded_calls import within
from penstock.log.librdkafka_catalog import Catalog, open_client
from penstock.log.librdkafka_commits import MemberCommits
from penstock.log.librdkafka_config import member_config
from penstock.log.librdkafka_errors import Complaints, error_of, log_error, passes
from penstock.log.librdkafka_fetch import check_reachable, consume
from penstock.log.librdkafka_group import leave_group
from penstock.log.librdkafka_place import GroupPlace, Seat
from penstock.log.librdkafka_positions import Positions
from penstock.log.port import Message, OnPartitions, Record, TopicPartition

_log = structlog.get_logger()

#: So many records are looked through for those of quieter partitions.
AHEAD = 2_000
#: librdkafka calls back about partitions in between; it says so only when a wait ends.
LONGEST_WAIT_S = 0.05
#: A client that is let go has nothing more to ask when it has been quiet for so long.
QUIET_S = 0.1
#: Letting go and closing take some ms; where the client hangs, it is left behind.
LET_GO_S, CLOSE_S = 2.0, 5.0


class LibrdkafkaMembership:
    """See ``Membership``. Another thread than the polling one may commit, also while the latter is in a callback.

    The group balances the partitions of the first topic; owning one of them means reading the same number of each.
    A member that the group has thrown out (paused for too long) gets a new id when it comes back: what it owned under
    the old one is lost, and commits are refused as fenced once the broker does not know that id any more.
    """

    def __init__(self, seat: Seat, catalog: Catalog, on_assigned: OnPartitions, on_revoked: OnPartitions) -> None:
        self._seat, self._catalog = seat, catalog
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._first_topic = catalog.physical(seat.topics[0])
        self._complaints = Complaints()
        self._place = GroupPlace()
        self._closed = False
        self._answered = 0  # callbacks about partitions
        self._failure: BaseException | None = None
        self._commits = MemberCommits(seat, catalog, self._place, lambda partition: self._positions.owns(partition))
        config = member_config(seat.options, self._complaints, seat.group, seat.member)
        self._consumer: Consumer = open_client(seat.options, lambda: Consumer(config))
        self._positions = Positions(self._consumer, catalog, seat.topics, self._committed)
        self._consumer.subscribe(
            [self._first_topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Membership.poll``. What ``on_revoked`` raised is raised here, and ends the membership."""
        self._commits.settle()
        self._check_seat()
        with self._place.inside:
            return self._poll(max_records, timeout_s)

    def commit(self, outputs: Sequence[Message], offsets: Mapping[TopicPartition, int]) -> None:
        """See ``Membership.commit``. Another thread than the polling one may call it."""
        self._check_open()
        self._commits.commit(self._consumer, outputs, offsets)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See ``Membership.seek``. Raises ``FencedError`` where ``partition`` is not owned."""
        if not self._positions.owns(partition):
            raise FencedError(self._seat.group, partition.partition)
        self._positions.seek(partition, offset)

    def committed(self, partition: TopicPartition) -> int | None:
        """See ``Membership.committed``."""
        self._check_open()
        self._commits.settle()
        timeout_s = self._seat.options.request_timeout_ms / 1000
        with self._place.inside:
            return self._committed([partition], timeout_s)[partition]

    def close(self) -> None:
        """See ``Membership.close``."""
        if self._closed:
            return
        try:
            if self._positions.owned:
                self._on_revoked(self._positions.owned)
        finally:
            self._closed = True
            self._positions.clear()
            self._commits.close()
            with self._place.inside:
                member_id = self._consumer.memberid()
                self._let_go()
            try:
                within(CLOSE_S, self._consumer.close)
            except TimeoutError:
                _log.warning("a consumer did not close in time and is left behind", group=self._seat.group)
            if member_id and not self._commits.fenced:
                leave_group(self._seat.options, self._seat.group, self._seat.member, member_id)

    def _let_go(self) -> None:
        """Hand the partitions back, and answer all callbacks, while the client still hears the answers.

        One that its close calls may wait for ever (librdkafka issue 4884), and does so with the interpreter's lock.
        """
        with suppress(KafkaException):  # it is refused after a fatal error, which takes the partitions away anyhow
            self._consumer.unsubscribe()
        deadline = time.monotonic() + LET_GO_S
        answered = -1
        while (answered < self._answered or self._consumer.assignment()) and time.monotonic() < deadline:
            answered = self._answered
            consume(self._consumer, AHEAD, QUIET_S)

    # What librdkafka calls, from inside ``consume``.

    def _assigned(self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self._answered += 1
        consumer.incremental_assign([])  # what is read, and from where, is settled after this callback
        self._place.sit(consumer.memberid())
        self._positions.give([partition.partition for partition in partitions])

    def _revoked(self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self._place.note(consumer)  # a last commit may wait for it
        self._give_up([partition.partition for partition in partitions])

    def _lost(self, _: Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self._place.lose()
        self._give_up([partition.partition for partition in partitions])

    def _give_up(self, numbers: Sequence[int]) -> None:
        self._answered += 1
        told = [number for number in self._positions.owned if number in numbers]
        try:
            if told:
                self._on_revoked(told)
        except BaseException as error:  # noqa: BLE001 - raised again by the poll: it must not pass through C
            self._failure = error
        self._positions.give_up(numbers)

    # Reading.

    def _poll(self, max_records: int, timeout_s: float) -> list[Record]:
        deadline = time.monotonic() + timeout_s
        wait = 0.0
        while True:
            self._fetch(max_records, wait)
            self._positions.take_up(self._on_assigned)
            records = self._positions.shelves.take(max_records)
            if records or self._place.wanted:
                self._place.note(self._consumer)
            if records:
                return records
            left = deadline - time.monotonic()
            if left <= 0:
                check_reachable(self._seat.options, self._consumer, self._first_topic, self._complaints)
                return []
            wait = min(left, LONGEST_WAIT_S)

    def _fetch(self, max_records: int, wait_s: float) -> None:
        shelves = self._positions.shelves
        wanted = max_records if shelves.count < 2 else max(max_records, AHEAD)
        messages = consume(self._consumer, max(1, wanted - len(shelves)), wait_s)
        if self._failure is not None:
            raise self._failure
        for failed in shelves.put(messages):
            self._heard(failed)

    def _heard(self, failed: confluent_kafka.Message) -> None:
        error = failed.error()
        assert error is not None  # noqa: S101 - only those with an error come here
        if error.code() == KafkaError._FATAL or error.fatal():
            self._commits.fence()
            self._check_seat()
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._positions.missed(failed)
        elif not passes(error) and error.code() != KafkaError._MAX_POLL_EXCEEDED:
            raise log_error(self._seat.options, "reading", error, self._complaints)

    def _committed(self, partitions: Sequence[TopicPartition], timeout_s: float) -> dict[TopicPartition, int | None]:
        wanted = [self._catalog.place(partition) for partition in partitions]
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

    def _check_open(self) -> None:
        if self._closed:
            raise PenstockError(f"{self._seat.group}/{self._seat.member}: this membership is closed")

    def _check_seat(self) -> None:
        self._check_open()
        if self._failure is not None:
            raise LogError(
                f"{self._seat.group}/{self._seat.member}: giving partitions up failed ({self._failure}); "
                "start again from what is committed"
            ) from self._failure
        if self._commits.fenced:
            raise FencedError(self._seat.group, min(self._positions.owned, default=0))
