"""Resident memory of processes, from /proc (Linux); unknown elsewhere."""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

_MB = 1024.0


def own_peak_mb() -> float:
    """The most memory this process ever held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (_MB * _MB if sys.platform == "darwin" else _MB), 1)


def resident_mb(pid: int) -> float | None:
    """What process ``pid`` holds now, in MiB; None where it cannot be known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / _MB
    return None


class PeakMeter:
    """Samples the sum over several processes in a thread, and keeps the peak."""

    def __init__(self, pids: Callable[[], Sequence[int]], every_s: float = 0.25) -> None:
        self._pids = pids
        self._every_s = every_s
        self._peak: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True, name="peak-rss")

    def __enter__(self) -> PeakMeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float | None:
        """The largest sum seen, in MiB."""
        return None if self._peak is None else round(self._peak, 1)

    def _sample(self) -> None:
        while not self._stop.wait(self._every_s):
            held = [mb for mb in (resident_mb(pid) for pid in self._pids()) if mb is not None]
            if held:
                self._peak = max(self._peak or 0.0, sum(held))
