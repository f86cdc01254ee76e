"""When a contestant's work began and when the last of it was committed, in wall and CPU time of its process."""

from __future__ import annotations

import time
from typing import Any


class Stopwatch:
    """Starts once, at the first record; each `mark` moves the end."""

    def __init__(self) -> None:
        self.records = 0
        self._began: tuple[float, float] | None = None
        self._ended = (0.0, 0.0)

    def start(self) -> None:
        """The first record is about to be processed; later calls change nothing."""
        if self._began is None:
            self._began = (time.perf_counter(), time.process_time())

    def mark(self) -> None:
        """Everything so far is done."""
        self._ended = (time.perf_counter(), time.process_time())

    def turn(self) -> dict[str, Any]:
        """The fields of a `benchmarks.contest.Turn`."""
        assert self._began is not None
        return {
            "records": self.records,
            "seconds": self._ended[0] - self._began[0],
            "cpu_seconds": self._ended[1] - self._began[1],
        }
