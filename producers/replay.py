"""Ticks into the log: at a rate, or as fast as the stages keep up; stopped and resumed without a gap or a repeat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol

from penstock.clock import Clock, SystemClock
from penstock.errors import LogUnavailableError
from penstock.log.port import Log, TopicPartition
from producers.schedule import Tick

#: Most ticks in one append: all of a chunk are in the log, or none.
CHUNK_TICKS = 500
#: How long to wait before asking again whether a row may be sent, and before repeating a failed append.
PAUSE_S = 0.005
RETRY_PAUSE_S = 0.5
RETRY_FOR_S = 60.0
#: The last message of a chunk says how many ticks of the replay are in the log now: ``<stream> <ticks>``.
HEADER = "penstock-replayed"
_LOOK_BACK = 1000


class Pace(Protocol):
    """When rows may be sent."""

    def allowance(self, row: int) -> int:
        """How many rows may be sent now, the next one being ``row``; 0 or less: none yet, ask again soon."""
        ...


class RatePace:
    """``rows_per_s`` rows a second, counted from the first question; what a slow log held up is caught up."""

    def __init__(self, rows_per_s: float, clock: Clock | None = None) -> None:
        self._rate = rows_per_s
        self._clock = clock or SystemClock()
        self._start: tuple[float, int] | None = None

    def allowance(self, row: int) -> int:
        """Rows that are due by now."""
        now = self._clock.monotonic_s()
        if self._start is None:
            self._start = (now, row)
        began, first = self._start
        return int((now - began) * self._rate) + 1 - (row - first)


class BacklogPace:
    """Flat out, but the stages are never more than ``most`` records behind. ``lag`` says how many they are."""

    def __init__(self, lag: Callable[[], int], most: int) -> None:
        self._lag = lag
        self._most = most

    def allowance(self, row: int) -> int:  # noqa: ARG002 - this pace does not depend on the row
        """The room that is left."""
        return self._most - self._lag()


class Replay:
    """Appends ticks to the log, in order, in chunks that are atomic.

    ``on_row`` hears the newest row after each append. With ``resume`` the ticks that the log already holds of
    ``stream`` are skipped: the same ticks must be given again. Rows of several partitions are still one sequence.
    """

    def __init__(
        self,
        log: Log,
        ticks: Iterable[Tick],
        pace: Pace,
        *,
        on_row: Callable[[int], None] | None = None,
        resume: bool = False,
        stream: str = "replay",
        clock: Clock | None = None,
    ) -> None:
        self._log = log
        self._ticks = iter(ticks)
        self._pace = pace
        self._on_row = on_row or (lambda _: None)
        self._resume = resume
        self._stream = stream
        self._clock = clock or SystemClock()

    def run(self, stop: threading.Event) -> int:
        """Send until the ticks end or ``stop`` is set; the number of ticks of the stream that are in the log then.

        Raises:
            LogUnavailableError: the log stayed away for a minute. Whether the last chunk is in it is found by resuming.
        """
        sent = 0
        if self._resume:
            sent = replayed_ticks(self._log, self._stream)
            for _ in islice(self._ticks, sent):
                pass
        next_tick = next(self._ticks, None)
        while next_tick is not None and not stop.is_set():
            room = min(CHUNK_TICKS, self._pace.allowance(next_tick.row))
            if room <= 0:
                stop.wait(PAUSE_S)
                continue
            chunk = [next_tick, *islice(self._ticks, room - 1)]
            if not self._append(chunk, sent, stop):
                return sent
            sent += len(chunk)
            self._on_row(chunk[-1].row)
            next_tick = next(self._ticks, None)
        return sent

    def _append(self, chunk: list[Tick], sent: int, stop: threading.Event) -> bool:
        """Append all messages of ``chunk``; False where ``stop`` was set before that succeeded."""
        messages = [message for tick in chunk for message in tick.messages]
        total = sent + len(chunk)
        if not messages:
            return True
        mark = (HEADER, f"{self._stream} {total}".encode())
        messages[-1] = messages[-1]._replace(headers=(*messages[-1].headers, mark))
        give_up_s = self._clock.monotonic_s() + RETRY_FOR_S
        while True:
            try:
                self._log.append(messages)
                return True
            except LogUnavailableError:
                if self._clock.monotonic_s() > give_up_s:
                    raise
                if stop.wait(RETRY_PAUSE_S):
                    return False
                if self._arrived(total):  # the answer was lost, not the records
                    return True

    def _arrived(self, total: int) -> bool:
        try:
            return replayed_ticks(self._log, self._stream) >= total
        except LogUnavailableError:
            return False


def replayed_ticks(log: Log, stream: str = "replay") -> int:
    """How many ticks of the replay called ``stream`` the log holds; 0 where it holds none.

    Reads requests and labels backwards from their ends, to the newest mark in each partition.
    """
    found = [
        _newest_mark(log, TopicPartition(topic, partition), stream)
        for topic in ("requests", "labels")
        for partition in range(log.partitions(topic))
    ]
    return max(found, default=0)


def _newest_mark(log: Log, partition: TopicPartition, stream: str) -> int:
    first, end = log.bounds(partition)
    while end > first:
        start = max(first, end - _LOOK_BACK)
        for record in reversed(log.read(partition, start, end, _LOOK_BACK)):
            count = _marked(record.headers, stream)
            if count is not None:
                return count
        end = start
    return 0


def _marked(headers: Iterable[tuple[str, bytes]], stream: str) -> int | None:
    for name, value in headers:
        if name == HEADER:
            of, _, count = value.decode().rpartition(" ")
            if of == stream and count.isdigit():
                return int(count)
    return None
