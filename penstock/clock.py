"""Time is passed in: the real clock and its double for tests and backtests."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the edges may ask about time. Stages never do."""

    def now_ms(self) -> int:
        """UTC wall time in integer milliseconds; the append time of records."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back; for time-outs, liveness and measured cost."""
        ...


class SystemClock:
    """The machine's clocks. The monotonic one is shared by all processes since boot."""

    def now_ms(self) -> int:
        """UTC wall time in integer milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """CLOCK_MONOTONIC in seconds."""
        return time.monotonic()


class VirtualClock:
    """A clock that moves only when told: backtests and tests.

    Its wall time never goes back, also when asked to (``advance_to_ms`` keeps the maximum).
    """

    def __init__(self, start_ms: int = 0) -> None:
        self._now_ms = start_ms
        self._elapsed_s = 0.0

    def now_ms(self) -> int:
        """The virtual wall time in milliseconds."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """The virtual monotonic time in seconds."""
        return self._elapsed_s

    def advance_to_ms(self, now_ms: int) -> None:
        """Move wall time forward to ``now_ms`` (earlier values change nothing)."""
        step = max(0, now_ms - self._now_ms)
        self._now_ms += step
        self._elapsed_s += step / 1000.0

    def advance_s(self, seconds: float) -> None:
        """Move both clocks forward by ``seconds`` (≥ 0)."""
        self._elapsed_s += seconds
        self._now_ms += round(seconds * 1000)
