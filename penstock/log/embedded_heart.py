"""The heartbeat of this process's members, in a thread of its own: a long batch must not cost ownership."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from functools import partial

from penstock.clock import Clock
from penstock.errors import LogError
from penstock.log import embedded_groups as groups
from penstock.log.embedded_writer import Writer

#: At most one heartbeat per second, for all members of a process together: each costs an fsync.
INTERVAL_S = 1.0


class Heart:
    """Says every second that this process's members live, and removes members whose process does not say so."""

    def __init__(self, writer: Writer, clock: Clock, timeout_s: float, housekeeping: Callable[[], None]) -> None:
        """``housekeeping`` is called after each beat; it may raise ``LogError``."""
        self._writer, self._clock, self._timeout_s = writer, clock, timeout_s
        self._housekeeping = housekeeping
        self._boot = groups.boot_id()
        self._interval_s = min(INTERVAL_S, timeout_s / 4)
        self._members: dict[int, str] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def alive(self) -> groups.Liveness:
        """The present moment, as heartbeats are written and judged."""
        return groups.Liveness(self._boot, self._clock.monotonic_s(), self._timeout_s)

    def add(self, group: str, epoch: int) -> None:
        """Beat for a member from now on."""
        with self._lock:
            self._members[epoch] = group
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="penstock-heartbeat", daemon=True)
                self._thread.start()

    def remove(self, epoch: int) -> None:
        """Stop beating for a member."""
        with self._lock:
            self._members.pop(epoch, None)

    def stop(self) -> dict[int, str]:
        """Stop for good; returns the members (epoch to group) that are still there."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            members, self._members = self._members, {}
        return members

    def _run(self) -> None:
        last_s = self._clock.monotonic_s()
        while not self._stopping.wait(self._interval_s):
            alive = self.alive()
            # After a stop of the whole process (SIGSTOP, a suspended machine) the others may have been stopped too:
            # let them beat first.
            late = alive.now_s - last_s > self._timeout_s / 2
            last_s = alive.now_s
            try:
                self._writer.write(partial(self._beat, alive, late))
                self._housekeeping()
            except LogError:
                # Whoever polls or commits reports it; the next beat tries again.
                continue

    def _beat(self, alive: groups.Liveness, late: bool, connection: sqlite3.Connection) -> None:
        with self._lock:
            members = list(self._members.items())
        for epoch, group in members:
            groups.beat(connection, epoch, alive)
            if not late and groups.any_dead(connection, group, alive):
                groups.expire(connection, group, epoch, alive)
