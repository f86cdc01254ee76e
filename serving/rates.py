"""How much per second, from the append times of what was counted."""

from __future__ import annotations

from collections import deque

#: How many seconds of history a rate keeps.
HISTORY_S = 120


class Rate:
    """A total, and counts per second of the last two minutes. Not thread-safe."""

    def __init__(self, window_s: int) -> None:
        self.total = 0
        self._window_s = window_s
        self._seconds: deque[list[int]] = deque()

    def add(self, count: int, at_ms: int) -> None:
        """Count what happened at ``at_ms``."""
        self.total += count
        second = at_ms // 1000
        if self._seconds and self._seconds[-1][0] >= second:
            self._seconds[-1][1] += count
            return
        self._seconds.append([second, count])
        while self._seconds[0][0] < second - HISTORY_S:
            self._seconds.popleft()

    def per_second(self, now_ms: int) -> float:
        """The mean over the window before the current second (shorter where counting began later)."""
        now = now_ms // 1000
        first = max(now - self._window_s, self._seconds[0][0] if self._seconds else now)
        counted = sum(count for second, count in self._seconds if first <= second < now)
        return counted / max(1, now - first)

    def history(self, now_ms: int) -> list[int]:
        """Counts of the last full seconds, oldest first; always ``HISTORY_S`` numbers."""
        start = now_ms // 1000 - HISTORY_S
        counts = [0] * HISTORY_S
        for second, count in self._seconds:
            if 0 <= second - start < HISTORY_S:
                counts[second - start] += count
        return counts
