"""Conformance of the log: members of groups, their commits, who owns what, who is fenced."""

# ruff: noqa: S101 - checks assert; they run in test suites only

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    becomes,
    drain,
    messages,
    opened,
    raises,
    share,
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
        log.append(messages("in", 600, 0) + messages("side", 3, 0))
        listener = Listener(log, "g", ["in", "side"], "m")
        seen: list[Record] = []
        while len([record for record in seen if record.topic == "side"]) < 3:
            records = listener.membership.poll(10, PATIENCE_S)
            assert 1 <= len(records) <= 10
            seen += records
            assert len(seen) <= 300, "the busy partition goes first, always"
            time.sleep(0.01)  # a stage works between its polls; a log may fetch one partition before the other
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
        becomes(lambda: values(all_of(log, OUT)), [b"0", b"1"])
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
        becomes(lambda: len(all_of(log, OUT)), 1)
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
        becomes(lambda: len(all_of(log, OUT)), 1)
        fresh.membership.close()


def check_only_the_owner_commits(subject: Subject) -> None:
    with opened(subject) as log:
        log.append(messages("in", 1, 0) + messages("in", 1, 1))
        first, second = Listener(log, "g", ["in"], "a"), Listener(log, "g", ["in"], "b")
        share([first, second], 2)
        mine, other = (TopicPartition("in", listener.owned[0]) for listener in (first, second))
        with raises(FencedError):
            first.membership.commit(messages("out", 1), {other: 1})
        with raises(FencedError):
            first.membership.commit(messages("out", 1), {mine: 1, other: 1})
        assert all_of(log, OUT) == []
        assert log.committed("g", mine) is None
        with raises(FencedError):
            first.membership.seek(other, 0)
        second.membership.commit([], {other: 1})
        assert log.committed("g", other) == 1
        for listener in (first, second):
            listener.membership.close()


def check_members_share_and_hand_over(subject: Subject) -> None:
    with closing(subject.open_log(VirtualClock(1_000))) as log:
        log.ensure_topics([TopicConfig("wide", 5)])
        first = Listener(log, "g", ["wide"], "a")
        share([first], 5)
        assert first.told == [("assigned", [0, 1, 2, 3, 4])]
        second = Listener(log, "g", ["wide"], "b")
        second.membership.poll(1, 0.0)
        assert second.owned == [], "nothing is taken before it is released"
        share([first, second], 5)
        assert len(first.told) == 2, "what stays is not taken away and given again"
        third = Listener(log, "g", ["wide"], "c")
        share([first, second, third], 5)
        start = time.monotonic()
        first.membership.close()
        share([second, third], 5)
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
        becomes(lambda: len(all_of(log, OUT)), 80)
        first.membership.close()
        second.membership.close()


def check_callbacks_may_commit_and_seek(subject: Subject) -> None:
    with opened(subject) as log:
        places = [TopicPartition("in", number) for number in (0, 1)]
        offsets = {place: log.append(messages("in", 6, place.partition)) for place in places}
        seats: list[Membership] = []

        def assigned(partitions: Sequence[int]) -> None:
            for number in partitions:
                assert seats[0].committed(places[number]) is None
                seats[0].seek(places[number], offsets[places[number]][4])

        def revoked(partitions: Sequence[int]) -> None:
            ends = {places[number]: offsets[places[number]][5] + 1 for number in partitions}
            seats[0].commit(messages("out", len(partitions)), ends)

        seats.append(log.join("g", ["in"], "z", assigned, revoked))
        assert sorted(values(drain(seats[0].poll, 4))) == [b"4", b"4", b"5", b"5"]
        other = Listener(log, "g", ["in"], "a")
        deadline = time.monotonic() + PATIENCE_S
        while not other.owned and time.monotonic() < deadline:
            assert seats[0].poll(1, 0.01) == []
            assert other.membership.poll(1, 0.01) == [], "it starts at what was committed while it was given up"
        (moved,) = other.owned
        assert log.committed("g", places[moved]) == offsets[places[moved]][5] + 1
        becomes(lambda: len(all_of(log, OUT)), 1)
        seats[0].close()
        assert log.committed("g", places[1 - moved]) == offsets[places[1 - moved]][5] + 1
        becomes(lambda: len(all_of(log, OUT)), 2)
        assert other.membership.poll(10, 0.0) == []
        other.membership.close()


def check_a_commit_may_run_beside_its_owners_poll(subject: Subject) -> None:
    """One commit at a time, in a thread of its own; the owner waits for it where it gives partitions up."""
    with opened(subject) as log, ThreadPoolExecutor(1) as thread:
        commits: list[Future[None]] = []

        def finish(_: Sequence[int]) -> None:
            while commits:
                commits.pop().result(PATIENCE_S)

        seat = log.join("g", ["in"], "z", lambda _: None, finish)
        other = Listener(log, "g", ["in"], "a")
        written = rounds = 0
        deadline = time.monotonic() + PATIENCE_S
        while not other.owned or rounds < 30 or len(all_of(log, OUT)) < written:
            assert time.monotonic() < deadline, f"{len(all_of(log, OUT))} of {written} came; owned: {other.owned}"
            if rounds < 30 or not other.owned:
                log.append(messages("in", 1, 0, written) + messages("in", 1, 1, written + 1))
                written, rounds = written + 2, rounds + 1
            records = seat.poll(7, 0.01)
            if records:
                finish(())
                commits.append(thread.submit(seat.commit, *_copied(records)))
            other.membership.commit(*_copied(other.membership.poll(7, 0.01)))
        finish(())
        assert sorted(int(value) for value in values(all_of(log, OUT))) == list(range(written))
        seat.close()
        other.membership.close()


def _copied(records: Sequence[Record]) -> tuple[list[Message], dict[TopicPartition, int]]:
    """What a stage commits that copies its inputs to ``out``."""
    offsets = {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}
    return [Message("out", record.key, record.value, 0) for record in records], offsets


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
