"""How far the stream is: labelled rows and their offsets by event time, folded from metrics records."""

from __future__ import annotations

from collections import deque
from itertools import dropwhile
from typing import NamedTuple

from penstock.events import DataRange, Metrics
from penstock.models.slot import ONLINE
from retraining.rivalry import Rivalries

#: The block of what was served, whatever its version.
SERVED = "champion"

#: One point per look (default 100 labelled rows): the start of a drift may lie 400,000 labelled rows back.
POINTS = 4000
#: Looks over which served and online model are compared (default 100 labelled rows each).
COMPARED = 20


class Point(NamedTuple):
    """After ``labelled`` examples of a partition: the newest one's offset and its prediction's event time."""

    labelled: int
    offset: int
    event_time_ms: int


class Compared(NamedTuple):
    """One look at labelled rows that were scored by both: mean losses (log loss; regression: absolute error)."""

    labelled: int
    generation: int
    served: float
    online: float


class Progress:
    """A cache of the newest metrics; nothing in it is needed to understand a decision that was made."""

    def __init__(self) -> None:
        self._points: dict[int, deque[Point]] = {}
        self._predicted: dict[int, int] = {}
        self.compared: deque[Compared] = deque(maxlen=COMPARED)
        self.rivalries = Rivalries()
        self.event_time_ms: int | None = None
        self.record_id = ""

    def observe(self, metrics: Metrics) -> None:
        """Take a record of the learner or the monitor into account; others and repeats change nothing."""
        if metrics.stage == "learner":
            points = self._points.setdefault(metrics.partition, deque(maxlen=POINTS))
            if not points or metrics.seen > points[-1].labelled:
                points.append(Point(metrics.seen, metrics.offset, metrics.event_time_ms))
                self._compare(metrics)
                self.rivalries.observe(metrics)
        elif metrics.stage == "monitor":
            self._predicted[metrics.partition] = max(metrics.seen, self._predicted.get(metrics.partition, 0))
        else:
            return
        self.see(metrics.event_time_ms, metrics.record_id)

    def _compare(self, metrics: Metrics) -> None:
        """Keep the look if all its rows were scored by both (not so around a swap)."""
        served, online = metrics.blocks.get(SERVED), metrics.blocks.get(ONLINE)
        if served is not None and online is not None and served.n == online.n > 0:
            losses = [(block.log_loss + block.absolute_error) / block.n for block in (served, online)]
            self.compared.append(Compared(self.labelled, metrics.generation, *losses))

    def see(self, event_time_ms: int, record_id: str) -> None:
        """Remember the newest record by event time."""
        if self.event_time_ms is None or event_time_ms >= self.event_time_ms:
            self.event_time_ms, self.record_id = event_time_ms, record_id

    @property
    def labelled(self) -> int:
        """Labelled examples so far, over all partitions."""
        return sum(points[-1].labelled for points in self._points.values())

    @property
    def rows(self) -> int:
        """Predictions so far, over all partitions."""
        return sum(self._predicted.values())

    def since(self, event_time_ms: int, partitions: int) -> DataRange:
        """Examples whose predictions were made at or after ``event_time_ms``, as far as the points tell."""
        return self._range(
            {
                partition: next(dropwhile(lambda point: point.event_time_ms < event_time_ms, points), None)
                for partition, points in self._points.items()
            },
            partitions,
        )

    def newest(self, rows: int, partitions: int) -> DataRange:
        """At most the newest ``rows`` examples, shared evenly by the partitions; fewer where there are fewer."""
        share = rows // partitions
        return self._range(
            {
                partition: next(dropwhile(lambda point: points[-1].labelled - point.labelled >= share, points), None)  # noqa: B023 - used at once
                for partition, points in self._points.items()
            },
            partitions,
        )

    def _range(self, first: dict[int, Point | None], partitions: int) -> DataRange:
        offsets: dict[str, tuple[int, int]] = {}
        rows = 0
        for partition in range(partitions):
            points = self._points.get(partition)
            stop = points[-1].offset + 1 if points else 0
            start = first.get(partition)
            offsets[str(partition)] = (stop if start is None else start.offset, stop)
            if points and start is not None:
                rows += points[-1].labelled - start.labelled + 1
        return DataRange(offsets=offsets, rows=rows)

    def until_now(self, start: dict[str, int], rows: int) -> DataRange:
        """From the offsets ``start`` to the newest known example of each partition, ``rows`` in all."""
        offsets: dict[str, tuple[int, int]] = {}
        for partition, first in start.items():
            points = self._points.get(int(partition))
            offsets[partition] = (first, max(first, points[-1].offset + 1 if points else first))
        return DataRange(offsets=offsets, rows=rows)
