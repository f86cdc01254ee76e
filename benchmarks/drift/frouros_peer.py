"""Frouros in an environment of its own: it needs an older NumPy than the product."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.peers import environment_with

VERSION = "0.9.0"
#: Its detectors of changed errors. Left out: BOCD (5 ms per value) and KSWIN (silent on zeros and ones, else River's).
NAMES = (
    "ADWIN",
    "CUSUM",
    "DDM",
    "ECDDWT",
    "EDDM",
    "GeometricMovingAverage",
    "HDDMA",
    "HDDMW",
    "PageHinkley",
    "RDDM",
    "STEPD",
)
WORKER = Path(__file__).with_name("frouros_worker.py")


class Frouros:
    """The worker's process; a context manager."""

    def __enter__(self) -> Frouros:
        python = environment_with("frouros", VERSION)
        self._process = subprocess.Popen([python, WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def alarms(self, errors: Sequence[int]) -> dict[str, list[int]]:
        """Where each of its detectors reports drift."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        self._process.stdin.write(json.dumps({"names": NAMES, "values": list(errors)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of Frouros ended with exit code {self._process.wait()}; see above")
        answer: dict[str, list[int]] = json.loads(line)
        return answer
