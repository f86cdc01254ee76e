"""One process of the system under test, started again whenever it dies, with the same data directory and name."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.system.processes import start, wait_for

STOP_S = 40.0
#: A process that ends at once, again and again, is not started faster than this.
PAUSE_S = 0.5
#: Who ends by itself with an error so often, each time soon after its start, will not recover.
MOST_CRASHES, SOON_S = 6, 20.0


class Worker:
    """``lives`` holds environments for the next starts (a kill point, say); after these, none is added."""

    def __init__(
        self,
        name: str,
        roles: tuple[str, ...],
        arguments: tuple[str, ...],
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name, self.roles = name, roles
        self.output = folder / f"{name}.txt"
        self.lives: deque[Mapping[str, str]] = deque()
        self.exits: list[int] = []
        self.crashes = 0
        self.environment = dict(environment)
        self.options: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None
        self._arguments, self._folder = arguments, folder
        self._wanted = False
        self._lock = threading.RLock()
        self._started_s = 0.0

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        process = self.process
        return process.pid if process is not None and process.poll() is None else None

    def begin(self) -> None:
        """Keep it running from now on."""
        with self._lock:
            self._wanted = True
            self._launch()

    def tend(self) -> None:
        """Start it again if it died."""
        with self._lock:
            process, old_enough = self.process, time.monotonic() - self._started_s >= PAUSE_S
            if self._wanted and process is not None and process.poll() is not None and old_enough:
                self.exits.append(process.returncode)
                soon = process.returncode > 0 and time.monotonic() - self._started_s < SOON_S
                self.crashes = self.crashes + 1 if soon else 0
                self._launch()

    def kill(self) -> bool:
        """SIGKILL; whether there was something to kill."""
        return self.signal(signal.SIGKILL)

    def signal(self, number: int) -> bool:
        """Send a signal; whether there was a process."""
        pid = self.pid
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    def let_go(self) -> None:
        """Do not start it again, and kill it."""
        with self._lock:
            self._wanted = False
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def stop(self) -> int:
        """Ask it to end in good order; its exit code (killed where it does not: -9)."""
        with self._lock:
            self._wanted = False
            process = self.process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def replaced(self, pid: int | None, deadline_s: float) -> None:
        """Wait until another process than ``pid`` runs in its place."""
        wait_for(lambda: self.pid not in (None, pid), f"{self.name} is started again", deadline_s)

    def started(self) -> bool:
        """Whether its present process has said that it runs."""
        pid = self.pid
        return pid is not None and f"pid={pid} " in self.says()

    def says(self) -> str:
        """Its output so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def _launch(self) -> None:
        life = self.lives.popleft() if self.lives else {}
        command = (*self._arguments, "run", *self.roles, "--follow-parent", *self.options)
        self.process = start(*command, cwd=self._folder, output=self.output, **{**self.environment, **life})
        self._started_s = time.monotonic()
