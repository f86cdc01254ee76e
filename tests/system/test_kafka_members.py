"""What members of a group on Kafka see when records, partitions or time are taken from them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import confluent_kafka
import pytest
from confluent_kafka import Consumer, Producer

from penstock.errors import FencedError, OffsetOutOfRangeError
from penstock.log.librdkafka import LibrdkafkaLog
from penstock.log.port import Log, Membership, Message, Record, TopicConfig, TopicPartition
from penstock.runtime.commits import BackgroundCommits
from penstock.testing.log_subject import ONE, OUT, Listener, all_of, becomes, messages, share, values
from tests.broker.deletion import delete_records
from tests.broker.shared import Kafka
from tests.conformance.test_kafka_log import options
from tests.system.test_kafka_faults import opened

pytestmark = pytest.mark.system

SCHEDULE_S = 20.0


def test_a_position_that_retention_passed_is_told_and_never_reset(kafka: Kafka) -> None:
    of = options(kafka)
    group = f"{of.pipeline}.g"
    with closing(opened(of)) as log:
        offsets = log.append(messages("one", 10))
        first = Listener(log, group, ["one"], "m")
        first.take(10)
        first.membership.commit([], {ONE: offsets[2]})
        first.membership.close()
        delete_records(kafka.bootstrap, f"{of.pipeline}.one.v1", {0: offsets[5]})
        late = Listener(log, group, ["one"], "m")
        for _ in range(2):
            with pytest.raises(OffsetOutOfRangeError) as told:
                late.take(1)
            assert (told.value.offset, told.value.first, told.value.end) == (offsets[2], offsets[5], offsets[9] + 1)
        assert late.membership.committed(ONE) == offsets[2]
        late.membership.seek(ONE, offsets[5])
        assert values(late.take(5)) == [b"5", b"6", b"7", b"8", b"9"]
        late.membership.close()


def test_offsets_in_a_dead_processes_transaction_are_waited_for(kafka: Kafka) -> None:
    """It has another name, so that nobody ends its transaction before its time is over."""
    of = replace(options(kafka), transaction_timeout_ms=3_000)
    group = f"{of.pipeline}.g"
    with closing(opened(of)) as log:
        offsets = log.append(messages("one", 4))
        dead = Producer(
            {"bootstrap.servers": kafka.bootstrap, "transactional.id": f"{group}.dead", "transaction.timeout.ms": 3_000}
        )
        dead.init_transactions(10)
        dead.begin_transaction()
        nobody = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
        place = confluent_kafka.TopicPartition(f"{of.pipeline}.one.v1", 0, offsets[3])
        dead.send_offsets_to_transaction([place], nobody.consumer_group_metadata(), 10)
        nobody.close()
        start = time.monotonic()
        listener = Listener(log, group, ["one"], "m")
        share([listener], 1)
        assert listener.membership.poll(10, 0.5) == [], "where it starts is not known yet"
        assert values(listener.take(4)) == [b"0", b"1", b"2", b"3"]
        assert 1 < time.monotonic() - start < 30
        listener.membership.commit(messages("out", 1), {ONE: offsets[1]})
        assert listener.membership.committed(ONE) == offsets[1]
        listener.membership.close()
        del dead


def test_who_does_not_poll_in_time_is_replaced_and_fenced(kafka: Kafka) -> None:
    of = replace(options(kafka), session_timeout_ms=2_000, max_poll_interval_ms=2_000)
    group = f"{of.pipeline}.g"
    with closing(opened(of)) as log, closing(opened(of)) as other:
        offsets = log.append(messages("one", 3))
        slow = Listener(log, group, ["one"], "a")
        slow.take(3)
        successor = Listener(other, group, ["one"], "b")
        assert len(successor.take(3)) == 3
        successor.membership.commit(messages("out", 1), {ONE: offsets[2] + 1})
        with pytest.raises(FencedError):
            slow.membership.commit(messages("out", 1, start=9), {ONE: offsets[1]})
        assert log.committed(group, ONE) == offsets[2] + 1
        becomes(lambda: values(all_of(log, OUT)), [b"0"])
        successor.membership.close()
        slow.membership.close()


class Counter:
    """A member that numbers the inputs of each partition, and commits each batch while the next one comes.

    The count of a partition is what was committed of it: offsets of these topics have no gaps.
    """

    def __init__(self, log: Log, group: str, name: str) -> None:
        self._commits = BackgroundCommits()
        self._counts: dict[int, int] = {}
        self._new: list[int] = []
        self._seat: Membership = log.join(group, ["wide"], name, self._new.extend, self._revoked)

    def step(self) -> None:
        records = self._seat.poll(20, 0.02)
        if self._new:
            self._commits.finish()
        while self._new:
            number = self._new.pop()
            self._counts[number] = self._seat.committed(TopicPartition("wide", number)) or 0
        if records:
            outputs = [self._counted(record) for record in records]
            offsets = {TopicPartition("wide", number): self._counts[number] for number in self._counts}
            self._commits.finish()
            self._commits.start(lambda: self._seat.commit(outputs, offsets))

    def leave(self) -> None:
        try:
            self._commits.finish()
        finally:
            self._seat.close()

    def _counted(self, record: Record) -> Message:
        assert record.offset == self._counts[record.partition], "skipped or repeated"
        self._counts[record.partition] += 1
        return Message("counts", None, b"%d:%s" % (self._counts[record.partition], record.value), record.partition)

    def _revoked(self, numbers: Sequence[int]) -> None:
        self._commits.finish()
        for number in numbers:
            self._counts.pop(number, None)


def live(make: Callable[[], Counter], rng: random.Random, until: float, end: threading.Event) -> tuple[int, int]:
    """Join, count, pause (sometimes past the session) and leave, again and again; lives, and how many were fenced."""
    lives = fenced = 0
    while not end.is_set():
        counter, lives = make(), lives + 1
        try:
            leaves = time.monotonic() + rng.uniform(1.0, 5.0)
            while not end.is_set() and (time.monotonic() < leaves or time.monotonic() > until):
                counter.step()
                if time.monotonic() < until and rng.random() < 0.01:
                    time.sleep(rng.choice((0.3, 1.0, 3.5)))
            counter.leave()
        except FencedError:
            fenced += 1
            try:
                counter.leave()
            except FencedError:
                continue
    return lives, fenced


def test_members_that_come_pause_and_go_count_every_input_once(kafka: Kafka) -> None:
    of = replace(options(kafka), session_timeout_ms=2_000, max_poll_interval_ms=3_000)
    group, end, until = f"{of.pipeline}.g", threading.Event(), time.monotonic() + SCHEDULE_S
    with closing(LibrdkafkaLog(of)) as log, ThreadPoolExecutor(3) as threads:
        log.ensure_topics([TopicConfig("wide", 4), TopicConfig("counts", 4)])
        members = [
            threads.submit(live, lambda name=name: Counter(log, group, name), random.Random(name), until, end)
            for name in ("a", "b", "c")
        ]
        fed = 0
        try:
            while time.monotonic() < until and not any(member.done() for member in members):
                log.append([Message("wide", None, b"%d" % fed, number) for number in range(4)])
                fed += 1
            wanted = [b"%d:%d" % (n + 1, n) for n in range(fed)]
            for number in range(4):
                place = TopicPartition("wide", number)
                deadline = time.monotonic() + 60
                while log.committed(group, place) != fed:
                    assert time.monotonic() < deadline, f"{log.committed(group, place)} of {fed} in {place}"
                    assert not any(member.done() for member in members)
                    time.sleep(0.1)
        finally:
            end.set()
        lives = [member.result(60) for member in members]
        for number in range(4):
            place = TopicPartition("counts", number)
            becomes(lambda place=place: values(all_of(log, place)), wanted)
        assert sum(count for count, _ in lives) > 3
