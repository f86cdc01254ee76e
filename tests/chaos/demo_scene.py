"""A demo that is killed, paused and resumed: its processes, and what its log says meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.chaos.kernel import alive
from tests.system.log_reader import LogReader
from tests.system.processes import children, kill_session, start

#: A log on which nothing moves for this long is stuck.
STUCK_S = 150.0
#: What a killed parent's children may take to notice and stop.
ORPHANS_STOP_S = 30.0


class BrokenPromiseError(AssertionError):
    """The system did something that it promises not to do."""


class DemoScene:
    """One headless demo in a data directory of its own."""

    def __init__(self, folder: Path, events: int, seed: int) -> None:
        self.data = folder / "data"
        self.output = folder / "output.txt"
        self.log = LogReader(self.data / "log.db", "credit")
        self.restarts = 0
        self._folder, self._events, self._seed = folder, events, seed
        self._moved = (time.monotonic(), (0, 0))
        self.process = self._launch("--events", str(events), "--seed", str(seed))

    def resume(self, kill_at: str = "") -> None:
        """Go on after the parent was killed; ``kill_at`` lets its children die at a kill point."""
        if (self.data / "demo.json").exists():
            self.process = self._launch("--resume", kill_at=kill_at)
        else:  # killed before it had begun
            self.process = self._launch("--events", str(self._events), "--seed", str(self._seed), kill_at=kill_at)
        self.restarts += 1

    def over(self) -> bool:
        """Whether the demo has ended by itself.

        Raises:
            BrokenPromiseError: with an error, or nothing has moved for a long time.
        """
        code = self.process.poll()
        if code not in (None, 0):
            raise BrokenPromiseError(f"the demo ended with exit code {code}; see {self.output}")
        since, before = self._moved
        now = (self.learned(), self.log.count("decisions"))
        if now != before:
            self._moved = (time.monotonic(), now)
        elif time.monotonic() - since > STUCK_S:
            raise BrokenPromiseError(f"nothing has moved for {STUCK_S:.0f} s; see {self.output}")
        return code == 0

    def learned(self) -> int:
        """Examples in the log."""
        return self.log.count("examples")

    def fitting(self) -> str:
        """The run whose fit is under way, or an empty string."""
        decisions: list[dict[str, Any]] = self.log.values("decisions") if self.log.count("decisions") else []
        collected = [decision["run_id"] for decision in decisions if decision["step"] == "collected"]
        judged = {decision["run_id"] for decision in decisions if decision["step"] in ("trained", "failed")}
        return next((run for run in collected if run not in judged), "")

    def child(self, role: str) -> int | None:
        """The process that runs ``role``, or None while it is not there."""
        found = [pid for pid, command in children(self.process.pid).items() if f" {role} " in f"{command} "]
        return found[0] if found else None

    def kill_tree(self) -> None:
        """SIGKILL to all processes at once."""
        kill_session(self.process)

    def kill_parent(self) -> float:
        """SIGKILL to the parent alone; the seconds that its children took to stop by themselves.

        Raises:
            BrokenPromiseError: they did not.
        """
        orphans = list(children(self.process.pid))
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        began = time.monotonic()
        while any(alive(pid) for pid in orphans):
            if time.monotonic() - began > ORPHANS_STOP_S:
                raise BrokenPromiseError(f"children outlive their killed parent by {ORPHANS_STOP_S:.0f} s")
            time.sleep(0.1)
        return time.monotonic() - began

    def end(self) -> None:
        """Kill whatever is left."""
        if self.process.poll() is None:
            self.kill_tree()

    def _launch(self, *arguments: str, kill_at: str = "") -> subprocess.Popen[bytes]:
        given = ("--headless", "--data-dir", str(self.data), "--report", str(self._folder / "report.json"))
        environment = {"PENSTOCK_KILL_AT": kill_at} if kill_at else {}
        return start("demo", *arguments, *given, cwd=self._folder, output=self.output, **environment)
