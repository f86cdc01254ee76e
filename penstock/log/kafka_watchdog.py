"""Ends the process when a call of the client hangs, as its transactions do while the broker is away.

``commit_transaction()`` of kafka-python 3.0.12 may hang for good, also after the broker's return, and offers no time
limit. A new process of the same name resolves the transaction: it starts from what was committed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

LIMIT_S = 20.0

_log = structlog.get_logger()


def end_process(what: str) -> None:
    """Exit 3 at once, without any clean-up that could hang too."""
    _log.error(
        "kafka: a call hangs, so this process ends; start it again and it resumes from what was committed", call=what
    )
    sys.stderr.flush()
    os._exit(3)


class Watchdog:
    """One thread that sleeps until a guarded call exceeds ``limit_s``; then it runs ``action`` with the call's name.

    One call is guarded at a time. Arming costs no wake-up of the thread unless it sleeps without a deadline.
    """

    def __init__(self, limit_s: float = LIMIT_S, action: Callable[[str], None] = end_process) -> None:
        self._limit_s, self._action = limit_s, action
        self._changed = threading.Condition()
        self._call: tuple[str, float] | None = None
        self._resting = False
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="penstock-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """The block must end within the limit."""
        with self._changed:
            self._call = what, time.monotonic() + self._limit_s
            if self._resting:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._call = None

    def close(self) -> None:
        """Stop watching. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                if self._call is None:
                    self._resting = True
                    self._changed.wait()
                    self._resting = False
                    continue
                what, deadline = self._call
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    self._call = None
                    self._action(what)
                else:
                    self._changed.wait(remaining)
