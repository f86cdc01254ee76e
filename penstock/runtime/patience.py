"""Patience: repeat a call while the log is unavailable, with growing pauses, up to a deadline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from penstock.clock import Clock
from penstock.errors import LogUnavailableError

_log = structlog.get_logger()
_T = TypeVar("_T")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Pauses double from 50 ms to 2 s. ``sleep`` is passed in, so that tests wait in virtual time."""

    clock: Clock
    sleep: Callable[[float], None]
    deadline_s: float

    def call(self, what: str, operation: Callable[[], _T]) -> _T:
        """The result of ``operation``, repeated as long as it raises ``LogUnavailableError``.

        Raises:
            LogUnavailableError: still unavailable ``deadline_s`` seconds after the first try.
        """
        started = self.clock.monotonic_s()
        pause = FIRST_PAUSE_S
        while True:
            try:
                return operation()
            except LogUnavailableError as error:
                waited = self.clock.monotonic_s() - started
                if waited + pause > self.deadline_s:
                    raise
                _log.warning("log unavailable, trying again", what=what, why=str(error), waited_s=round(waited, 3))
            self.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
