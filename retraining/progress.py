"""How far the stream is, and what drifts: folded from the newest metrics and drift records."""

from __future__ import annotations

from collections import deque
from itertools import dropwhile
from typing import NamedTuple, TypeVar

from online.performance_drop import ServedPerformance
from penstock.events import DataRange, Drift, DriftCondition, Metrics
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.rivalry import Rivalries

_T = TypeVar("_T")

#: The block of what was served, whatever its version.
SERVED = "champion"

#: One point per look (default 100 labelled rows): the start of a drift may lie 400,000 labelled rows back.
POINTS = 4000
#: Looks over which served and online model are compared (default 100 labelled rows each).
COMPARED = 20
#: Incidents of a kind that are remembered; a policy counts as many warnings at most as a window holds.
INCIDENTS = 1000


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


class Warned(NamedTuple):
    """An incident: when it opened, about which generation, and since when what it tells goes on."""

    event_time_ms: int
    generation: int
    since_event_time_ms: int


class Progress:
    """A cache of the newest metrics and drift; nothing in it is needed to understand a decision that was made.

    ``warnings`` are the incidents that are no trigger by themselves, by id, the oldest first; ``lasting`` those of them
    that have not closed.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._points: dict[int, deque[Point]] = {}
        self._predicted: dict[int, int] = {}
        self.compared: deque[Compared] = deque(maxlen=COMPARED)
        self.rivalries = Rivalries()
        self.performance = ServedPerformance(pipeline)
        self._critical = pipeline.retraining.critical
        self.warnings: dict[str, Warned] = {}
        self.lasting: dict[str, Warned] = {}
        self._severe: dict[str, None] = {}
        self.condition: DriftCondition | None = None
        self._conditioned = -1
        self._newest: dict[str, tuple[int, int, str]] = {}
        self._seen = 0

    def observe(self, metrics: Metrics) -> None:
        """Take a record of the learner, the monitor or incidents into account; others and repeats change nothing."""
        if metrics.stage == "learner":
            points = self._points.setdefault(metrics.partition, deque(maxlen=POINTS))
            if points and metrics.seen <= points[-1].labelled:
                return
            points.append(Point(metrics.seen, metrics.offset, metrics.event_time_ms))
            self._compare(metrics)
            self.rivalries.observe(metrics, self.labelled)
        elif metrics.stage == "monitor":
            if metrics.seen <= self._predicted.get(metrics.partition, 0):
                return
            self._predicted[metrics.partition] = metrics.seen
            self._newest.pop("drift", None)  # it may be the last for months, and wrong about the time
        elif metrics.stage == "incidents" and metrics.offset > self._conditioned:
            self._conditioned, self.condition = metrics.offset, metrics.condition
            return
        else:
            return
        self._see(f"{metrics.stage}-{metrics.partition}", metrics.event_time_ms, metrics.record_id)

    def observe_drift(self, drift: Drift) -> None:
        """Take an incident into account; repeats change nothing."""
        if drift.status == "closed":
            self.lasting.pop(drift.id, None)
        elif drift.level == "critical" and self._critical:
            self.warnings.pop(drift.id, None)
            self.lasting.pop(drift.id, None)
            _keep(self._severe, drift.id, None)
        elif drift.status == "opened" and drift.id not in self._severe and drift.id not in self.warnings:
            since = drift.event_time_ms if drift.since_event_time_ms is None else drift.since_event_time_ms
            warned = Warned(drift.event_time_ms, drift.generation, since)
            _keep(self.warnings, drift.id, warned)
            _keep(self.lasting, drift.id, warned)
        self._see("drift", drift.event_time_ms, drift.record_id)

    def _compare(self, metrics: Metrics) -> None:
        """Keep the look if all its rows were scored by both (not so around a swap)."""
        served, online = metrics.blocks.get(SERVED), metrics.blocks.get(ONLINE)
        if served is not None and online is not None and served.n == online.n > 0:
            losses = [(block.log_loss + block.absolute_error) / block.n for block in (served, online)]
            self.compared.append(Compared(self.labelled, metrics.generation, *losses))
        if served is not None:
            self.performance.add(served, metrics.generation, metrics.partition, self.labelled)

    def _see(self, source: str, event_time_ms: int, record_id: str) -> None:
        self._seen += 1
        self._newest[source] = (event_time_ms, self._seen, record_id)

    @property
    def event_time_ms(self) -> int | None:
        """The latest event time among the newest record of each source; None before any.

        A record with a time far in the future is forgotten with the next of its source.
        """
        return max(self._newest.values())[0] if self._newest else None

    @property
    def record_id(self) -> str:
        """The id of the record that `event_time_ms` is of; empty before any."""
        return max(self._newest.values())[2] if self._newest else ""

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


def _keep(held: dict[str, _T], identity: str, value: _T) -> None:
    """Remember an incident; of too many the oldest is forgotten."""
    held.setdefault(identity, value)
    if len(held) > INCIDENTS:
        del held[next(iter(held))]
