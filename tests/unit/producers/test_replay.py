"""Ticks into the log."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from penstock.clock import SystemClock, VirtualClock
from penstock.errors import LogUnavailableError
from penstock.events import Label, Request, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message, TopicPartition
from penstock.spec import Numeric, Pipeline, Rows
from producers import replay as module
from producers.replay import BacklogPace, Pace, RatePace, Replay, replayed_ticks
from producers.schedule import StreamRow, Tick, schedule

PIPELINE = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),))


def ticks(rows: int = 50) -> Iterator[Tick]:
    def stream() -> Iterator[StreamRow]:
        for index in range(rows):
            request = encode(Request(id=str(index), features={"x": 1.0}))
            yield StreamRow(
                index, str(index), str(index), index * 1000, request, encode(Label(id=str(index), value=1.0))
            )

    return schedule(stream(), PIPELINE, delay=Rows(7))


def values(log: MemoryLog, topic: str) -> list[bytes]:
    found = []
    for partition in range(log.partitions(topic)):
        place = TopicPartition(topic, partition)
        found += [record.value for record in log.read(place, 0, log.bounds(place).end, 10**6)]
    return found


def sent_in_order(rows: int = 50) -> dict[str, list[bytes]]:
    messages = [message for tick in ticks(rows) for message in tick.messages]
    return {topic: [m.value for m in messages if m.topic == topic] for topic in ("requests", "labels")}


class Chunks:
    """Allows so many rows at a time."""

    def __init__(self, size: int) -> None:
        self.size = size

    def allowance(self, row: int) -> int:
        return self.size


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(SystemClock(), topic_configs(1))


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
def test_everything_is_sent_once_in_order(log: MemoryLog, size: int) -> None:
    rows: list[int] = []
    total = Replay(log, ticks(), Chunks(size), on_row=rows.append).run(threading.Event())
    assert total == len(list(ticks())) == replayed_ticks(log)
    assert {topic: values(log, topic) for topic in ("requests", "labels")} == sent_in_order()
    assert rows[-1] == 49
    assert rows == sorted(rows)


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("stopped_after", [1, 20, 49, 53])
def test_stopped_and_resumed_there_is_no_gap_and_no_repeat(partitions: int, stopped_after: int) -> None:
    log = MemoryLog(SystemClock(), topic_configs(partitions))
    stop = threading.Event()

    class Stopping(Chunks):
        count = 0

        def allowance(self, row: int) -> int:
            self.count += 1
            if self.count == stopped_after:
                stop.set()
            return self.size

    first = Replay(log, ticks(), Stopping(1)).run(stop)
    assert first == stopped_after == replayed_ticks(log)
    log.append([Message("requests", b"somebody else", b"{}"), Message("labels", b"somebody else", b"{}")])
    assert Replay(log, ticks(), Chunks(11), resume=True).run(threading.Event()) == len(list(ticks()))
    for topic, expected in sent_in_order().items():
        assert sorted(values(log, topic)) == sorted([*expected, b"{}"])


def test_without_resume_it_is_sent_again_and_other_streams_do_not_count(log: MemoryLog) -> None:
    Replay(log, ticks(5), Chunks(2), stream="first").run(threading.Event())
    assert replayed_ticks(log, "second") == 0
    Replay(log, ticks(5), Chunks(2), stream="second", resume=True).run(threading.Event())
    Replay(log, ticks(5), Chunks(2), stream="second").run(threading.Event())
    assert len(values(log, "requests")) == 15


def test_a_set_stop_sends_nothing(log: MemoryLog) -> None:
    stop = threading.Event()
    stop.set()
    assert Replay(log, ticks(), Chunks(5)).run(stop) == 0
    assert values(log, "requests") == []


class Flaky(MemoryLog):
    """Fails now and then: before writing, or after (the answer is lost)."""

    def __init__(self, failures: Sequence[str]) -> None:
        super().__init__(SystemClock(), topic_configs(1))
        self._failures = list(failures)

    def append(self, messages: Sequence[Message]) -> list[int]:
        failure = self._failures.pop(0) if self._failures else ""
        if failure == "before":
            raise LogUnavailableError("away")
        offsets = super().append(messages)
        if failure == "after":
            raise LogUnavailableError("answer lost")
        return offsets


def test_an_unknown_outcome_is_looked_up_before_it_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSE_S", 0.0)
    log = Flaky(["before", "before", "", "after", "after", "before"])
    Replay(log, ticks(), Chunks(9)).run(threading.Event())
    assert {topic: values(log, topic) for topic in ("requests", "labels")} == sent_in_order()


def test_a_log_that_stays_away_ends_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSE_S", 0.0)
    clock = VirtualClock()

    class Away(MemoryLog):
        def append(self, messages: Sequence[Message]) -> list[int]:
            clock.advance_s(10.0)
            raise LogUnavailableError("away")

    with pytest.raises(LogUnavailableError):
        Replay(Away(SystemClock(), topic_configs(1)), ticks(), Chunks(9), clock=clock).run(threading.Event())
    assert 60.0 < clock.monotonic_s() <= 80.0


def test_a_stop_ends_the_retries() -> None:
    stop = threading.Event()

    class Away(MemoryLog):
        def append(self, messages: Sequence[Message]) -> list[int]:
            stop.set()
            raise LogUnavailableError("away")

    assert Replay(Away(SystemClock(), topic_configs(1)), ticks(), Chunks(9)).run(stop) == 0


def test_rate_pace() -> None:
    clock = VirtualClock()
    pace = RatePace(10.0, clock)
    assert pace.allowance(100) == 1
    assert pace.allowance(101) == 0
    clock.advance_s(0.5)
    assert pace.allowance(101) == 5
    assert pace.allowance(106) == 0
    clock.advance_s(10.0)
    assert pace.allowance(106) == 100


def test_backlog_pace_keeps_the_stages_close(log: MemoryLog) -> None:
    done = 0
    seen: list[int] = []

    def lag() -> int:
        nonlocal done
        sent = len(values(log, "requests"))
        seen.append(sent - done)
        done = min(sent, done + 3)
        return sent - done

    pace: Pace = BacklogPace(lag, most=10)
    Replay(log, ticks(), pace).run(threading.Event())
    assert max(seen) == 10
    assert len(values(log, "requests")) == 50
