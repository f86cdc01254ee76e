"""Conformance of the log: members of groups, their commits, who owns what, who is fenced."""

# ruff: noqa: S101 - checks assert; they run in test suites only

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing

from penstock.clock import VirtualClock
from penstock.errors import FencedError, LogError, OffsetOutOfRangeError, UnknownTopicError
from penstock.log.port import Membership, Message, Record, TopicConfig, TopicPartition
from penstock.testing.log_subject import (
    IN,
    ONE,
    OUT,
    PATIENCE_S,
    Listener,
    Subject,
    all_of,
    drain,
    messages,
    opened,
    raises,
    settle,
    values,
)


def check_a_member_gets_each_record_once_in_order(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 50, 0) + messages("in", 50, 1, start=50))
        listener = Listener(log, "g", ["in"], "m")
        records = listener.take(100)
        for partition in (0, 1):
            offsets = [record.offset for record in records if record.partition == partition]
            assert len(offsets) == 50
            assert offsets == sorted(offsets)
        assert listener.membership.poll(10, 0.0) == []
        assert listener.told == [("assigned", [0, 1])]
        listener.membership.close()


def check_poll_keeps_to_its_limit_and_starves_nobody(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 300, 0) + messages("side", 3, 0))
        listener = Listener(log, "g", ["in", "side"], "m")
        seen: list[Record] = []
        for _ in range(6):
            records = listener.membership.poll(10, 1.0)
            assert len(records) <= 10
            seen += records
        assert len(seen) == 60
        assert len([record for record in seen if record.topic == "side"]) == 3
        listener.membership.close()


def check_poll_one_by_one_skips_nothing(subject: Subject) -> None:
    with opened(subject) as log:
        expected = {(m.topic, m.partition, m.value) for m in messages("in", 5, 1) + messages("side", 5, 0)}
        log.append(messages("in", 5, 1) + messages("side", 5, 0))
        listener = Listener(log, "g", ["in", "side"], "m")
        got: list[Record] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(got) < 10 and time.monotonic() < deadline:
            got += listener.membership.poll(1, 0.05)
        assert {(r.topic, r.partition, r.value) for r in got} == expected
        assert len(got) == 10
        listener.membership.close()


def check_poll_waits_for_what_is_appended(subject: Subject) -> None:
    with opened(subject) as log:
        listener = Listener(log, "g", ["one"], "m")
        start = time.monotonic()
        assert listener.membership.poll(10, 0.05) == []
        assert time.monotonic() - start >= 0.05
        writer = threading.Timer(0.05, log.append, [messages("one", 1)])
        writer.start()
        assert values(listener.membership.poll(10, PATIENCE_S)) == [b"0"]
        assert time.monotonic() - start < PATIENCE_S / 2
        writer.join()
        listener.membership.close()


def check_outputs_and_offsets_commit_together(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 3))
        listener = Listener(log, "g", ["in"], "m")
        last = listener.take(3)[-1].offset
        assert listener.membership.committed(IN) is None
        assert log.committed("g", IN) is None
        listener.membership.commit(messages("out", 2), {IN: last + 1})
        assert listener.membership.committed(IN) == log.committed("g", IN) == last + 1
        assert values(all_of(log, OUT)) == [b"0", b"1"]
        assert log.committed("g", TopicPartition("in", 1)) is None
        assert log.committed("other", IN) is None
        listener.membership.close()


def check_a_refused_commit_writes_nothing(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 3))
        listener = Listener(log, "g", ["in"], "m")
        last = listener.take(3)[-1].offset
        for wrong in (Message("nowhere", None, b"x"), Message("out", None, b"x", 9)):
            with raises(UnknownTopicError):
                listener.membership.commit([*messages("out", 2), wrong], {IN: last + 1})
        assert all_of(log, OUT) == []
        assert log.committed("g", IN) is None
        listener.membership.commit(messages("out", 1), {IN: last + 1})
        assert len(all_of(log, OUT)) == 1
        listener.membership.close()


def check_the_next_owner_starts_at_what_was_committed(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 10))
        first = Listener(log, "g", ["in"], "m")
        records = first.take(10)
        first.membership.commit([], {IN: records[4].offset})
        first.membership.close()
        assert first.told == [("assigned", [0, 1]), ("revoked", [0, 1])]
        second = Listener(log, "g", ["in"], "m")
        assert values(second.take(6)) == [b"%d" % n for n in range(4, 10)]
        second.membership.close()


def check_groups_do_not_know_each_other(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 4))
        one, other = Listener(log, "g", ["in"], "m"), Listener(log, "h", ["in"], "m")
        last = one.take(4)[-1].offset
        one.membership.commit([], {IN: last + 1})
        assert len(other.take(4)) == 4
        assert other.membership.committed(IN) is None
        one.membership.close()
        other.membership.close()


def check_a_namesake_fences_at_once(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 4))
        stale = Listener(log, "g", ["in"], "m")
        last = stale.take(4)[-1].offset
        fresh = Listener(log, "g", ["in"], "m")
        for offsets in ({IN: last + 1}, {}):  # before the new one has polled, and without offsets too
            with raises(FencedError):
                stale.membership.commit(messages("out", 1), offsets)
        assert len(fresh.take(4)) == 4
        with raises(FencedError):
            stale.membership.commit(messages("out", 1), {IN: last + 1})
        with raises(FencedError):
            stale.membership.poll(10, 0.0)
        assert all_of(log, OUT) == []
        assert log.committed("g", IN) is None
        stale.membership.close()
        fresh.membership.commit(messages("out", 1), {IN: last + 1})
        assert len(all_of(log, OUT)) == 1
        fresh.membership.close()


def check_only_the_owner_commits(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 1, 0) + messages("in", 1, 1))
        first, second = Listener(log, "g", ["in"], "a"), Listener(log, "g", ["in"], "b")
        settle([first, second], [[0], [1]])
        with raises(FencedError):
            first.membership.commit(messages("out", 1), {TopicPartition("in", 1): 1})
        with raises(FencedError):
            first.membership.commit(messages("out", 1), {IN: 1, TopicPartition("in", 1): 1})
        assert all_of(log, OUT) == []
        assert log.committed("g", IN) is None
        with raises(FencedError):
            first.membership.seek(TopicPartition("in", 1), 0)
        second.membership.commit([], {TopicPartition("in", 1): 1})
        for listener in (first, second):
            listener.membership.close()


def check_members_share_and_hand_over(subject: Subject) -> None:
    with closing(subject.open_log(VirtualClock(1_000))) as log:
        log.ensure_topics([TopicConfig("wide", 5)])
        first = Listener(log, "g", ["wide"], "a")
        settle([first], [[0, 1, 2, 3, 4]])
        second = Listener(log, "g", ["wide"], "b")
        second.membership.poll(1, 0.0)
        assert second.owned == [], "nothing is taken before it is released"
        settle([first, second], [[0, 1, 2], [3, 4]])
        third = Listener(log, "g", ["wide"], "c")
        settle([first, second, third], [[0, 1], [2, 3], [4]])
        assert second.told == [("assigned", [3, 4]), ("revoked", [4]), ("assigned", [2])]
        start = time.monotonic()
        first.membership.close()
        settle([second, third], [[0, 1, 2], [3, 4]])
        assert time.monotonic() - start < PATIENCE_S / 2, "who leaves is replaced at once"
        second.membership.close()
        third.membership.close()


def check_a_handover_loses_and_repeats_nothing(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 40, 0) + messages("in", 40, 1))
        copied: list[tuple[int, bytes]] = []

        def step(listener: Listener) -> None:
            records = listener.membership.poll(7, 0.0)
            offsets = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
            outputs = [Message("out", r.key, b"%d/%s" % (r.partition, r.value), 0) for r in records]
            listener.membership.commit(outputs, offsets)
            copied.extend((r.partition, r.value) for r in records)

        first = Listener(log, "g", ["in"], "a")
        step(first)
        second = Listener(log, "g", ["in"], "b")
        deadline = time.monotonic() + PATIENCE_S
        while len(copied) < 80 and time.monotonic() < deadline:
            step(first)
            step(second)
        assert sorted(copied) == sorted((p, b"%d" % n) for p in (0, 1) for n in range(40))
        assert len(all_of(log, OUT)) == 80
        first.membership.close()
        second.membership.close()


def check_callbacks_may_commit_and_seek(subject: Subject) -> None:
    with opened(subject) as log:
        offsets = log.append(messages("one", 6))
        seats: list[Membership] = []

        def assigned(partitions: Sequence[int]) -> None:
            assert list(partitions) == [0]
            assert seats[0].committed(ONE) is None
            seats[0].seek(ONE, offsets[4])

        def revoked(partitions: Sequence[int]) -> None:
            seats[0].commit(messages("out", len(partitions)), {ONE: offsets[5] + 1})

        seats.append(log.join("g", ["one"], "z", assigned, revoked))
        assert values(drain(seats[0].poll, 2)) == [b"4", b"5"]
        other = Listener(log, "g", ["one"], "a")
        seats[0].poll(1, 0.0)
        assert log.committed("g", ONE) == offsets[5] + 1
        assert len(all_of(log, OUT)) == 1
        settle([other], [[0]])
        assert other.membership.poll(10, 0.0) == []
        other.membership.close()
        seats[0].close()


def check_seek_moves_the_next_poll(subject: Subject) -> None:
    with opened(subject) as log:
        offsets = log.append(messages("one", 6))
        listener = Listener(log, "g", ["one"], "m")
        listener.take(6)
        listener.membership.seek(ONE, offsets[3])
        assert values(listener.take(3)) == [b"3", b"4", b"5"]
        listener.membership.seek(ONE, offsets[5] + 10)
        for _ in range(2):
            with raises(OffsetOutOfRangeError):
                listener.membership.poll(10, 0.0)
        listener.membership.seek(ONE, offsets[5])
        assert values(listener.take(1)) == [b"5"]
        listener.membership.close()


def check_co_partitioned_topics_only(subject: Subject) -> None:
    with opened(subject) as log:
        with raises(LogError):
            Listener(log, "g", ["in", "one"], "m")
        with raises(UnknownTopicError):
            Listener(log, "g", ["nowhere"], "m")
