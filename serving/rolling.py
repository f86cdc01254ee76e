"""Rolling quality of everything that scored: accuracy, or the mean absolute error of a regression."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

from online.blocks import merged_all
from online.evaluation import measures
from penstock.events import Metrics, ScoreBlock
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline

Point: TypeAlias = dict[str, Any]

#: Metrics come every 100 labelled examples: five of them are a window of 500.
WINDOW_BLOCKS = 5
#: Beyond this many points every other one of the older half is dropped: recent history stays sharp, memory bounded.
MAX_POINTS = 4000
CHAMPION = "champion"


class Rolling:
    """One point per metrics record, over the last ``WINDOW_BLOCKS`` records of each version. Not thread-safe.

    A version's line is its role when it was scored: ``champion`` (whatever was served), ``online``, ``previous`` (it
    was served before) or ``challenger``.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._windows: dict[str, deque[ScoreBlock]] = {}
        self._served: dict[int, str] = {}
        self._points: list[Point] = []
        self._x = -(2**63)
        self._labelled: dict[int, int] = {}

    def served(self, generation: int, version: str) -> None:
        """Generation ``generation`` serves ``version``."""
        self._served[generation] = version

    def add(self, metrics: Metrics, at_ms: int, revision: int) -> None:
        """Take the learner's ``metrics`` into account."""
        self._x = max(self._x, metrics.event_time_ms)  # labels come late and out of order; the axis never goes back
        self._labelled[metrics.partition] = metrics.seen
        for version in [name for name in self._windows if name not in metrics.blocks]:
            del self._windows[version]
        point: Point = {
            "x": self._x,
            "at_ms": at_ms,
            "labelled": sum(self._labelled.values()),
            "generation": metrics.generation,
            "revision": revision,
        }
        former = {version for generation, version in self._served.items() if generation < metrics.generation}
        served = self._served.get(metrics.generation)
        for version, block in metrics.blocks.items():
            window = self._windows.setdefault(version, deque(maxlen=WINDOW_BLOCKS))
            window.append(block)
            if version in {CHAMPION, ONLINE}:
                point[version] = self._value(window)
            elif version != served:
                role = "previous" if version in former else "challenger"
                point[role] = self._value(window)
                point[f"{role}_version"] = version
        self._points.append(point)
        if len(self._points) > MAX_POINTS:
            half = MAX_POINTS // 2
            self._points = self._points[:half:2] + self._points[half:]

    def since(self, revision: int) -> list[Point]:
        """Points newer than ``revision``."""
        newer = len(self._points)
        while newer and self._points[newer - 1]["revision"] > revision:
            newer -= 1
        return self._points[newer:]

    def served_quality(self) -> dict[str, float | None]:
        """All metrics of what was served, and its baselines, over the same window as the newest point."""
        return measures(self._pipeline, merged_all(self._windows.get(CHAMPION, ())))

    def _value(self, window: deque[ScoreBlock]) -> float | None:
        n = sum(block.n for block in window)
        if not n:
            return None
        total = sum(b.absolute_error if self._pipeline.task == "regression" else b.correct for b in window)
        return total / n
