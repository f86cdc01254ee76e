"""The right to write, passed from process to process in the order of asking."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path


class FileLock:
    """flock(2) with a time-out. One thread at a time acquires and releases.

    Blocked waiters sleep in the kernel and are woken in order, whereas SQLite's own busy handler retries after
    growing sleeps and starves. The kernel frees the lock of a killed process. A blocked flock cannot be given up, so
    under contention a thread of its own waits, and gives back what comes too late.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``, creating it when needed. Raises ``OSError``."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._state = threading.Condition(threading.Lock())
        self._waiter: threading.Thread | None = None
        self._blocked = self._wanted = self._held = self._closed = False

    def acquire(self, timeout_s: float) -> bool:
        """Whether the lock was got within ``timeout_s``."""
        with self._state:
            if not self._blocked:
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._blocked = True
                else:
                    return True
            if self._waiter is None:
                self._waiter = threading.Thread(target=self._wait, name="penstock-log-lock", daemon=True)
                self._waiter.start()
            self._wanted = True
            self._state.notify_all()
            try:
                return self._state.wait_for(lambda: self._held, timeout_s)
            except BaseException:  # an interrupt: nobody would release what just came
                if self._held:
                    self.release()
                raise
            finally:
                self._wanted = self._held = False

    def release(self) -> None:
        """Let the next one write."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the file; the lock is not held."""
        with self._state:
            self._closed = True
            self._state.notify_all()
            if not self._blocked:
                os.close(self._file)

    def _wait(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._blocked or self._closed)
                if not self._blocked:
                    return
            fcntl.flock(self._file, fcntl.LOCK_EX)
            with self._state:
                self._blocked = False
                if self._wanted:
                    self._held = True
                    self._state.notify_all()
                elif self._closed:
                    os.close(self._file)
                    return
                else:
                    self.release()
