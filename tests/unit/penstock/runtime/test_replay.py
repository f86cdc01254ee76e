"""Dead letters go back once each, whatever dies, is repeated, or runs at the same time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.clock import VirtualClock
from penstock.errors import ContractError, FencedError, LogUnavailableError
from penstock.log.memory import MemoryLog
from penstock.log.port import Message, Record, TopicConfig, TopicPartition
from penstock.runtime import replay
from penstock.runtime.dead_letters import Source, dead_letter, read_dead_letter
from penstock.runtime.patience import Patience
from penstock.runtime.ranges import read_range
from penstock.runtime.replay import Outcome, Replayer, replayed_sources
from penstock.testing.kill_points import KillPoints

TOPICS = [
    TopicConfig("requests", 2),
    TopicConfig("labels", 2),
    TopicConfig("dead-letters", 1),
    TopicConfig("replays", 1),
]


class Crash(BaseException):
    """Stands for SIGKILL."""


def crash():
    raise Crash


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(replay, "BATCH", 3)


def make_log(sources):
    """A log whose dead letters were at ``sources``."""
    log = MemoryLog(VirtualClock(), TOPICS)
    for topic, partition, offset in sources:
        record = Record(topic, partition, offset, 0, b"k", f"{topic}/{partition}:{offset}".encode(), (("h", b"1"),))
        log.append([dead_letter(record, ContractError("", "broken"), "scorer")])
    return log


def replayer(log, reached=lambda _: None):
    clock = VirtualClock()
    return Replayer(log, "p.dead-letters", "r", "me", clock, Patience(clock, clock.advance_s, 5.0), reached)


def letters(log, offsets=None):
    where = TopicPartition("dead-letters", 0)
    found = [read_dead_letter(record) for record in read_range(log, where, 0, log.bounds(where).end)]
    return [letter for letter in found if offsets is None or letter.record.offset in offsets]


def back(log):
    """What came back: (topic, partition, key, value, headers), counted."""
    found = []
    for topic in ("requests", "labels"):
        for partition in range(2):
            where = TopicPartition(topic, partition)
            found += [
                (topic, partition, r.key, r.value, r.headers) for r in read_range(log, where, 0, log.bounds(where).end)
            ]
    return Counter(found)


def once(sources):
    return Counter({(t, p, b"k", f"{t}/{p}:{o}".encode(), (("h", b"1"),)): 1 for t, p, o in sources})


SOURCES = [("requests", 0, 5), ("requests", 1, 5), ("labels", 1, 0), ("requests", 0, 6), ("labels", 0, 9)]


def test_all_go_back_to_their_partition_in_their_order_and_a_repeat_does_nothing():
    log = make_log(SOURCES)
    assert replayer(log).run(letters(log)) == Outcome(5, 0, ())
    assert [r.value for r in log.read(TopicPartition("requests", 0), 0, 9, 9)] == [b"requests/0:5", b"requests/0:6"]
    assert back(log) == once(SOURCES)
    assert replayer(log).run(letters(log)) == Outcome(0, 5, ())
    assert back(log) == once(SOURCES)
    assert replayed_sources(log) == {Source(*source) for source in SOURCES}


def test_chosen_ones_in_any_order_then_the_rest():
    log = make_log(SOURCES)
    assert replayer(log).run(letters(log, {3})).replayed == 1
    assert replayer(log).run(letters(log, {1, 3})) == Outcome(1, 1, ())
    assert replayer(log).run(letters(log)) == Outcome(3, 2, ())
    assert back(log) == once(SOURCES)


def test_a_record_that_two_stages_refused_goes_back_once():
    twice = [SOURCES[0], SOURCES[1], SOURCES[0]]
    log = make_log(twice)
    assert replayer(log).run(letters(log)) == Outcome(2, 1, ())
    assert back(log) == once(set(twice))


def test_what_names_no_place_of_the_log_is_passed_over():
    log = make_log([("requests", 0, 1), ("gossip", 0, 1), ("requests", 7, 1)])
    log.append([Message("dead-letters", None, b"foreign", 0)])
    assert replayer(log).run(letters(log)) == Outcome(1, 0, (1, 2, 3))


@given(
    offsets=st.lists(
        st.tuples(st.sampled_from(["requests", "labels"]), st.integers(0, 1), st.integers(0, 6)), max_size=25
    ),
    kills=st.lists(st.tuples(st.sampled_from(["mid_batch", "after_commit"]), st.integers(1, 4)), max_size=6),
    chosen=st.sets(st.integers(0, 25)),
)
@settings(max_examples=60, deadline=None)
def test_killed_at_any_points_and_run_again_each_goes_back_once(offsets, kills, chosen):
    log = make_log(offsets)
    for number, (point, nth) in enumerate(kills):
        wanted = chosen if number % 2 else None
        try:
            replayer(log, KillPoints(point, nth, crash)).run(letters(log, wanted))
        except Crash:
            assert all(count == 1 for count in back(log).values())
    replayer(log).run(letters(log))
    assert back(log) == once(set(offsets))


def test_a_second_replay_fences_the_first_in_the_middle_and_nothing_is_double():
    log = make_log(SOURCES)

    def second(point):
        if point == "mid_batch":
            assert replayer(log).run(letters(log)).replayed == 5

    with pytest.raises(FencedError):
        replayer(log, second).run(letters(log))
    assert back(log) == once(SOURCES)


def test_an_unavailable_log_is_waited_for():
    log = make_log(SOURCES)
    failures = iter([True, True])

    class Flaky:
        def __init__(self, membership):
            self.inner = membership

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def commit(self, outputs, offsets):
            if outputs and next(failures, False):
                raise LogUnavailableError("away")
            self.inner.commit(outputs, offsets)

    class FlakyLog:
        def __getattr__(self, name):
            return getattr(log, name)

        def join(self, *arguments):
            return Flaky(log.join(*arguments))

    assert replayer(FlakyLog()).run(letters(log)).replayed == 5
    assert back(log) == once(SOURCES)


def test_who_and_what_is_noted():
    log = make_log(SOURCES)
    replayer(log).run(letters(log, {0, 1, 3}))
    (note,) = log.read(TopicPartition("replays", 0), 0, 10, 10)
    assert note.value == (b'{"id":"r-0","by":"me","at_ms":0,"sources":{"requests/0":[[5,7]],"requests/1":[[5,6]]}}')
