"""Finding records in a partition with gaps, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.clock import VirtualClock
from penstock.errors import OffsetOutOfRangeError
from penstock.log import search
from penstock.log.memory import MemoryLog
from penstock.log.port import Message, Record, TopicConfig, TopicPartition
from penstock.log.search import first_at, newest, oldest

WHERE = TopicPartition("t", 0)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PIECE", 3)


def log_of(values: list[tuple[int, str]]) -> MemoryLog:
    """A log of (append time, value); a value of "-" leaves a gap (the newest of a key stays)."""
    clock = VirtualClock(0)
    log = MemoryLog(clock, [TopicConfig("t", 1, None, True)])
    for at_ms, value in values:
        clock.advance_to_ms(at_ms)
        log.append([Message("t", value.encode() if value != "-" else b"gap", value.encode(), 0)])
    return log


def test_the_newest_and_the_oldest_that_match() -> None:
    log = log_of([(n, f"v{n % 4}-{n}") for n in range(20)])

    def wanted(record: Record) -> bool:
        return record.value.startswith(b"v1")

    found = newest(log, WHERE, wanted)
    assert found is not None
    assert found.value == b"v1-17"
    before = newest(log, WHERE, wanted, stop=17)
    assert before is not None
    assert before.value == b"v1-13"
    first = oldest(log, WHERE, wanted, start=2)
    assert first is not None
    assert first.value == b"v1-5"
    assert newest(log, WHERE, lambda _: False) is None
    assert oldest(log, WHERE, lambda _: False) is None


def test_an_empty_partition_has_nothing() -> None:
    log = log_of([])
    assert newest(log, WHERE, lambda _: True) is None
    assert first_at(log, WHERE, 5) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab-")), max_size=25), st.integers(-1, 40))
def test_the_first_offset_at_a_time_is_what_a_full_read_finds(steps: list[tuple[int, str]], at_ms: int) -> None:
    now, values = 0, []
    for step, value in steps:
        now += step
        values.append((now, value))
    log = log_of(values)
    log.maintain()
    first, end = log.bounds(WHERE)
    records = log.read(WHERE, first, end, 1000)
    expected = next((record.offset for record in records if record.timestamp_ms >= at_ms), end)
    found = first_at(log, WHERE, at_ms)
    assert [r.offset for r in records if r.offset >= found] == [r.offset for r in records if r.offset >= expected]


def test_retention_that_goes_on_meanwhile_is_the_end_of_the_search() -> None:
    log = log_of([(n, f"v{n}") for n in range(10)])
    read = log.read

    def passed(where: TopicPartition, start: int, stop: int, most: int) -> list[Record]:
        if start < 5:
            raise OffsetOutOfRangeError("t", 0, start, 5, 10)
        return read(where, start, stop, most)

    log.read = passed  # type: ignore[method-assign]
    assert newest(log, WHERE, lambda record: record.value == b"v2") is None
    found = newest(log, WHERE, lambda record: record.value == b"v5")
    assert found is not None
