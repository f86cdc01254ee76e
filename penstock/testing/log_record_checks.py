"""Conformance of the log: topics, appends, reads, tails, retention and compaction."""

# ruff: noqa: S101 - checks assert; they run in test suites only

from __future__ import annotations

import threading
from contextlib import closing

from penstock.clock import VirtualClock
from penstock.errors import LogError, OffsetOutOfRangeError, UnknownTopicError
from penstock.log.partitioner import partition_for
from penstock.log.port import Bounds, Log, Message, TopicConfig, TopicPartition
from penstock.testing.log_subject import (
    ONE,
    PATIENCE_S,
    TOPICS,
    Listener,
    Subject,
    all_of,
    drain,
    messages,
    opened,
    raises,
    share,
    values,
)


def check_topics_are_created_once(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("one", 3))
        log.ensure_topics(TOPICS)
        assert log.partitions("in") == 2
        assert len(all_of(log, ONE)) == 3


def check_another_partition_count_is_refused(subject: Subject) -> None:
    with opened(subject) as log:
        with raises(LogError):
            log.ensure_topics([TopicConfig("new", 1), TopicConfig("in", 3)])
        with raises(UnknownTopicError):
            log.partitions("new")
        assert log.partitions("in") == 2


def check_offsets_grow_in_order(subject: Subject) -> None:
    with opened(subject) as log:
        first = log.append(messages("one", 5))
        second = log.append(messages("one", 5, start=5))
        offsets = first + second
        assert offsets == sorted(set(offsets))
        records = all_of(log, ONE)
        assert [record.offset for record in records] == offsets
        assert values(records) == [b"%d" % n for n in range(10)]
        assert log.bounds(ONE) == Bounds(offsets[0], offsets[-1] + 1)


def check_append_returns_offsets_in_the_order_of_messages(subject: Subject) -> None:
    with opened(subject) as log:
        mixed = [Message("in", b"k", b"%d" % n, n % 2) for n in range(6)]
        for message, offset in zip(mixed, log.append(mixed), strict=True):
            where = TopicPartition("in", message.partition or 0)
            assert values(log.read(where, offset, offset + 1, 1)) == [message.value]
        assert log.append([]) == []


def check_append_to_an_unknown_topic_writes_nothing(subject: Subject) -> None:
    with opened(subject) as log:
        for wrong in (Message("nowhere", None, b"x"), Message("one", None, b"x", 1), Message("one", None, b"x", -1)):
            with raises(UnknownTopicError):
                log.append([*messages("one", 2), wrong])
        assert all_of(log, ONE) == []


def check_keys_choose_the_partition_as_kafka_does(subject: Subject) -> None:
    with closing(subject.open_log(VirtualClock(1_000))) as log:
        log.ensure_topics([TopicConfig("wide", 7)])
        keys = [b"", b"a", b"loan-17", "ключ".encode(), bytes(range(256)), None]
        log.append([Message("wide", key, b"v") for key in keys])
        for key in keys:
            held = all_of(log, TopicPartition("wide", partition_for(key, 7)))
            assert key in [record.key for record in held], f"{key!r} is elsewhere"


def check_bytes_come_back_as_they_were(subject: Subject) -> None:
    with opened(subject) as log:
        headers = (("error", b"\x00\xff"), ("topic", b""), ("error", b"again"))
        log.append([Message("one", None, b"", 0), Message("one", b"\x00", bytes(range(256)) * 100, 0, headers)])
        log.append([Message("one", b"", b"x", 0)])
        plain, rich, empty = all_of(log, ONE)
        assert (plain.key, plain.value, plain.headers) == (None, b"", ())
        assert (rich.key, rich.value, rich.headers) == (b"\x00", bytes(range(256)) * 100, headers)
        assert empty.key == b""
        assert (rich.topic, rich.partition) == ONE


class _SteppedClock:
    """A wall clock that is set by hand, also backwards."""

    def __init__(self) -> None:
        self.ms = 1_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return 0.0


def check_append_time_never_goes_back(subject: Subject) -> None:
    with opened(subject) as log:
        for start in range(3):
            log.append(messages("one", 2, start=start))
        times = [record.timestamp_ms for record in all_of(log, ONE)]
        assert times == sorted(times)
        assert times[0] > 0


def check_append_time_is_the_clocks_but_never_goes_back(subject: Subject) -> None:
    clock = _SteppedClock()
    with opened(subject, clock) as log:
        for clock.ms in (1_000, 3_000, 2_000, 4_000):
            log.append(messages("one", 1))
        assert [record.timestamp_ms for record in all_of(log, ONE)] == [1_000, 3_000, 3_000, 4_000]


def check_read_returns_the_range(subject: Subject) -> None:
    with opened(subject) as log:
        offsets = log.append(messages("one", 10))
        assert values(log.read(ONE, offsets[2], offsets[5], 100)) == [b"2", b"3", b"4"]
        assert values(log.read(ONE, offsets[2], offsets[9] + 100, 2)) == [b"2", b"3"]
        assert log.read(ONE, offsets[5], offsets[5], 100) == []
        assert log.read(ONE, offsets[5], offsets[2], 100) == []
        assert log.read(ONE, offsets[9] + 1, offsets[9] + 5, 100) == []
        with raises(UnknownTopicError):
            log.read(TopicPartition("one", 1), 0, 1, 1)
        with raises(OffsetOutOfRangeError):
            log.read(ONE, log.bounds(ONE).first - 1, offsets[9], 1)


def check_an_empty_partition_has_equal_bounds(subject: Subject) -> None:
    with opened(subject) as log:
        bounds = log.bounds(ONE)
        assert bounds.first == bounds.end
        assert log.read(ONE, bounds.first, bounds.end, 10) == []
        with raises(UnknownTopicError):
            log.bounds(TopicPartition("nowhere", 0))


def check_concurrent_appends_are_whole(subject: Subject) -> None:
    with opened(subject) as log:
        acknowledged: dict[int, bytes] = {}

        def write(writer: int) -> None:
            for n in range(20):
                batch = [Message("one", None, b"%d/%d/%d" % (writer, n, part), 0) for part in range(3)]
                for offset, message in zip(log.append(batch), batch, strict=True):
                    acknowledged[offset] = message.value

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        records = all_of(log, ONE)
        assert {record.offset: record.value for record in records} == acknowledged
        assert len(records) == 4 * 20 * 3
        # Each batch stands together: its parts were one transaction.
        assert all(
            len({value.rsplit(b"/", 1)[0] for value in values(records[at : at + 3])}) == 1
            for at in range(0, len(records), 3)
        )


def check_tails_see_everything_committed(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("one", 3))
        old, new = log.tail(["one", "out"], from_start=True), log.tail(["one", "out"], from_start=False)
        listener = Listener(log, "g", ["in"], "m")
        listener.membership.poll(1, 0.0)
        listener.membership.commit(messages("out", 2, start=10), {})
        log.append(messages("one", 1, start=3))
        seen = drain(old.poll, 6)
        assert values([r for r in seen if r.topic == "one"]) == [b"0", b"1", b"2", b"3"]
        assert values([r for r in seen if r.topic == "out"]) == [b"10", b"11"]
        assert sorted(values(drain(new.poll, 3))) == [b"10", b"11", b"3"]
        assert new.poll(10, 0.0) == []
        for tail in (old, new):
            tail.close()
            tail.close()
        listener.membership.close()
        with raises(UnknownTopicError):
            log.tail(["nowhere"], from_start=True)


def check_close_is_idempotent(subject: Subject) -> None:
    with opened(subject) as log:
        listener = Listener(log, "g", ["one"], "m")
        share([listener], 1)
        listener.membership.close()
        listener.membership.close()
        assert listener.told == [("assigned", [0]), ("revoked", [0])]
        log.close()


def _maintain(subject: Subject, log: Log) -> None:
    assert subject.maintain is not None
    subject.maintain(log)


def check_retention_deletes_the_oldest(subject: Subject) -> None:
    clock = VirtualClock(1_000)
    with closing(subject.open_log(clock)) as log:
        log.ensure_topics([TopicConfig("one", 1, retention_ms=500), TopicConfig("kept", 1)])
        log.append(messages("one", 3) + messages("kept", 3))
        behind, tail = Listener(log, "g", ["one"], "m"), log.tail(["one"], from_start=True)
        assert len(behind.membership.poll(1, 1.0)) == 1
        clock.advance_to_ms(1_400)
        offsets = log.append(messages("one", 2, start=3))
        _maintain(subject, log)
        assert len(all_of(log, ONE)) == 5
        clock.advance_to_ms(1_600)
        _maintain(subject, log)
        assert log.bounds(ONE).first == offsets[0]
        assert values(all_of(log, ONE)) == [b"3", b"4"]
        assert len(all_of(log, TopicPartition("kept", 0))) == 3
        for _ in range(2):
            with raises(OffsetOutOfRangeError):
                behind.membership.poll(10, 0.0)
        assert values(drain(tail.poll, 2)) == [b"3", b"4"]
        clock.advance_to_ms(9_000)
        _maintain(subject, log)
        assert log.bounds(ONE) == Bounds(offsets[1] + 1, offsets[1] + 1)
        assert log.append(messages("one", 1)) == [offsets[1] + 1], "offsets are never used again"
        behind.membership.close()
        tail.close()


def check_compaction_keeps_the_newest_of_each_key(subject: Subject) -> None:
    with closing(subject.open_log(VirtualClock(1_000))) as log:
        log.ensure_topics([TopicConfig("one", 1, compact=True)])
        written = [(b"a", b"1"), (b"b", b"1"), (None, b"0"), (b"a", b"2"), (None, b"1"), (b"a", b"3")]
        offsets = log.append([Message("one", key, value, 0) for key, value in written])
        behind = Listener(log, "g", ["one"], "m")
        assert len(behind.membership.poll(1, 1.0)) == 1
        _maintain(subject, log)
        kept = [(b"b", b"1"), (None, b"0"), (None, b"1"), (b"a", b"3")]
        assert [(record.key, record.value) for record in all_of(log, ONE)] == kept
        assert [(r.key, r.value) for r in behind.take(4)] == kept, "a gap is no reason to stop"
        assert [r.offset for r in log.read(ONE, offsets[3], offsets[5] + 1, 10)] == [offsets[4], offsets[5]]
        tail = log.tail(["one"], from_start=True)
        assert len(drain(tail.poll, 4)) == 4
        assert log.append([Message("one", b"a", b"4", 0)]) == [offsets[5] + 1]
        assert values(drain(tail.poll, 1)) == [b"4"]
        tail.close()
        behind.membership.close()
