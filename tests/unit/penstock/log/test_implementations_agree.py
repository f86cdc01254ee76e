"""Random histories of one member, a rival and maintenance: memory and embedded log behave alike, call by call."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.clock import VirtualClock
from penstock.errors import LogError
from penstock.log.embedded import EmbeddedLog
from penstock.log.memory import MemoryLog
from penstock.log.port import Membership, Message, TopicConfig, TopicPartition

TOPICS = [TopicConfig("a", 2, retention_ms=50), TopicConfig("b", 2), TopicConfig("c", 1, compact=True)]
PLACES = [TopicPartition(config.name, p) for config in TOPICS for p in range(config.partitions)]

topics = st.sampled_from(["a", "b", "c", "nowhere"])
appends = st.builds(
    lambda *m: Message(*m),
    topics,
    st.none() | st.binary(max_size=2),
    st.binary(max_size=3),
    st.none() | st.integers(0, 2),
)
places = st.sampled_from(PLACES)
members = st.sampled_from(["x", "y", "z"])
offsets = st.integers(0, 12)
steps = st.one_of(
    st.tuples(st.just("append"), st.lists(appends, max_size=4)),
    st.tuples(st.just("poll"), members, st.integers(1, 5)),
    st.tuples(st.just("join"), members),
    st.tuples(st.just("close"), members),
    st.tuples(st.just("commit"), members, st.lists(appends, max_size=2), st.dictionaries(places, offsets, max_size=2)),
    st.tuples(st.just("seek"), members, places, offsets),
    st.tuples(st.just("read"), places, offsets, offsets, st.integers(1, 5)),
    st.tuples(st.just("bounds"), places),
    st.tuples(st.just("advance"), st.integers(0, 40)),
    st.tuples(st.just("maintain")),
)


class Driver:
    """One implementation, driven by steps that name what they use."""

    def __init__(self, log: MemoryLog | EmbeddedLog, clock: VirtualClock) -> None:
        self.log, self.clock = log, clock
        self.seats: dict[str, Membership] = {}
        self.told: list[Any] = []
        log.ensure_topics(TOPICS)

    def outcome(self, step: tuple[Any, ...]) -> object:
        """What a step returned or raised, what callbacks were told, and what the group has committed."""
        self.told = []
        try:
            result = getattr(self, f"do_{step[0]}")(*step[1:])
        except LogError as error:
            result = type(error)
        return result, self.told, [self.log.committed("g", place) for place in PLACES]

    def do_append(self, messages: list[Message]) -> object:
        return self.log.append(messages)

    def do_join(self, member: str) -> object:
        def tell(what: str) -> Callable[[Any], None]:
            return lambda partitions: self.told.append((member, what, list(partitions)))

        self.seats[member] = self.log.join("g", ["a", "b"], member, tell("assigned"), tell("revoked"))
        return None

    def do_poll(self, member: str, limit: int) -> object:
        return self.seats[member].poll(limit, 0.0) if member in self.seats else None

    def do_commit(self, member: str, outputs: list[Message], at: dict[TopicPartition, int]) -> object:
        return self.seats[member].commit(outputs, at) if member in self.seats else None

    def do_seek(self, member: str, place: TopicPartition, offset: int) -> object:
        return self.seats[member].seek(place, offset) if member in self.seats else None

    def do_close(self, member: str) -> object:
        return self.seats.pop(member).close() if member in self.seats else None

    def do_read(self, place: TopicPartition, start: int, stop: int, limit: int) -> object:
        return self.log.read(place, start, stop, limit)

    def do_bounds(self, place: TopicPartition) -> object:
        return self.log.bounds(place)

    def do_advance(self, ms: int) -> None:
        self.clock.advance_to_ms(self.clock.now_ms() + ms)

    def do_maintain(self) -> None:
        self.log.maintain()


@pytest.fixture(scope="module")
def new_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    base, numbers = tmp_path_factory.mktemp("logs"), itertools.count()
    return lambda: base / f"{next(numbers)}.db"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=30))
def test_every_call_has_the_same_outcome(new_path: Callable[[], Path], history: list[tuple[Any, ...]]) -> None:
    clocks = VirtualClock(1_000), VirtualClock(1_000)
    memory = Driver(MemoryLog(clocks[0]), clocks[0])
    embedded = Driver(EmbeddedLog(new_path(), "pipe", clocks[1], session_timeout_s=1e6), clocks[1])
    try:
        for step in [("join", "x"), ("poll", "x", 1), *history]:
            assert embedded.outcome(step) == memory.outcome(step), step
    finally:
        for seat in embedded.seats.values():
            seat.close()
        embedded.log.close()
