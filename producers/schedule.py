"""When what is sent: rows of a data stream and their delayed labels, in one order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from penstock.errors import UsageError
from penstock.log.port import Message
from penstock.spec import Pipeline, Rows
from producers.labels import LabelDelay, RandomDelay, check_delay

#: Event time of a row of data that has none: its index times this.
ROW_MS = 1000


class StreamRow(NamedTuple):
    """One row of a data stream, encoded for the log.

    ``row`` is the 0-based data row; ``request`` and ``label`` are JSON (a bad value is left in: the contract is
    checked by who reads it); ``label`` is None where the label is missing. ``label_time_ms`` is set where the data
    says when the label became known. ``label`` holds no ``event_time_ms``: the schedule adds when it became known.
    """

    row: int
    id: str
    entity: str
    time_ms: int
    request: bytes
    label: bytes | None
    label_time_ms: int | None = None


class Tick(NamedTuple):
    """What is appended at one moment: the request of ``row`` and the labels that are due then.

    After the last row, ticks with the last row's number carry the labels that were still to come.
    """

    row: int
    time_ms: int
    messages: list[Message]


def schedule(
    rows: Iterable[StreamRow],
    pipeline: Pipeline,
    *,
    delay: LabelDelay | None = None,
    missing_share: float = 0.0,
    seed: int = 0,
) -> Iterator[Tick]:
    """One tick per row: the labels known before it, its request, and the labels that are due with it.

    With a delay in rows, the label of row i follows the request of row i + delay and says that it became known at that
    row's time. With a delay in milliseconds it comes before the first request of a later event time, and says its own
    due time. ``delay`` None: the row's own ``label_time_ms`` where it has one, else the pipeline's delay. A label known
    before its row follows the request at once. ``missing_share`` of the labels, drawn by ``seed``, never come.

    Every label of ``rows`` that is not drawn out is sent exactly once. The time of ticks never goes back.

    Raises:
        UsageError: the delay does not fit the pipeline's horizon, or the share is no share; at the call, not later.
    """
    if not 0.0 <= missing_share <= 1.0:
        raise UsageError(f"the share of missing labels is {missing_share}; it must be between 0 and 1")
    chosen = pipeline.label_delay if delay is None else delay
    check_delay(chosen, pipeline)
    return _Schedule(chosen, own_times=delay is None, missing_share=missing_share, seed=seed).ticks(rows)


class _Waiting(NamedTuple):
    """A label on its way. Orders by due, then by row."""

    due: int
    row: int
    key: bytes
    label: bytes


class _Schedule:
    def __init__(self, delay: LabelDelay, *, own_times: bool, missing_share: float, seed: int) -> None:
        self._delay = delay
        self._in_rows = isinstance(delay.mean if isinstance(delay, RandomDelay) else delay, Rows)
        self._own_times = own_times
        self._missing_share = missing_share
        self._delays = random.Random(f"delays {seed}")
        self._losses = random.Random(f"losses {seed}")
        self._by_row: list[_Waiting] = []
        self._by_time: list[_Waiting] = []

    def ticks(self, rows: Iterable[StreamRow]) -> Iterator[Tick]:
        now_ms: int | None = None
        newest = -1
        for row in rows:
            now_ms = row.time_ms if now_ms is None else max(now_ms, row.time_ms)
            key = row.entity.encode()
            messages = self._known_by(now_ms)
            messages.append(Message("requests", key, row.request))
            self._take(row, key)
            messages += self._known_by(now_ms)
            while self._by_row and self._by_row[0].due <= row.row:
                messages.append(_message(heappop(self._by_row), now_ms))
            newest = row.row
            yield Tick(newest, now_ms, messages)
        if now_ms is not None:
            yield from self._rest(newest, now_ms)

    def _take(self, row: StreamRow, key: bytes) -> None:
        """Draw for every row, labelled or not, so that one row's label never moves another's delay."""
        count = self._delay.draw(self._delays) if isinstance(self._delay, RandomDelay) else self._delay.count
        lost = self._missing_share > 0.0 and self._losses.random() < self._missing_share
        if row.label is None or lost:
            return
        if self._own_times and row.label_time_ms is not None:
            heappush(self._by_time, _Waiting(row.label_time_ms, row.row, key, row.label))
        elif self._in_rows:
            heappush(self._by_row, _Waiting(row.row + count, row.row, key, row.label))
        else:
            heappush(self._by_time, _Waiting(row.time_ms + count, row.row, key, row.label))

    def _known_by(self, now_ms: int) -> list[Message]:
        messages = []
        while self._by_time and self._by_time[0].due <= now_ms:
            waiting = heappop(self._by_time)
            messages.append(_message(waiting, waiting.due))
        return messages

    def _rest(self, newest: int, now_ms: int) -> Iterator[Tick]:
        """The stream is over: rows stop counting, so labels that waited for rows come at the last row's time."""
        while self._by_row:
            yield Tick(newest, now_ms, [_message(heappop(self._by_row), now_ms)])
        while self._by_time:
            now_ms = max(now_ms, self._by_time[0].due)
            yield Tick(newest, now_ms, self._known_by(now_ms))


def _message(waiting: _Waiting, known_ms: int) -> Message:
    """The label with the time at which it became known, spliced in as the last field of its JSON object."""
    return Message("labels", waiting.key, b'%b,"event_time_ms":%d}' % (waiting.label[:-1], known_ms))
