"""Patience: repeat a call while the log is unavailable, with growing pauses, up to a deadline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import structlog

from penstock.clock import Clock
from penstock.errors import LogUnavailableError

_log = structlog.get_logger()
_T = TypeVar("_T")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
#: An outage is told at once, then after this time, then after twice as long, and so on up to the longest silence.
FIRST_SILENCE_S = 5.0
LONGEST_SILENCE_S = 60.0

#: Hears how each try ended: what was tried, and why the log was unavailable (None: it was not).
Heard: TypeAlias = Callable[[str, str | None], None]


def _ignore(_what: str, _why: str | None) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Pauses double from 50 ms to 2 s. ``sleep`` is passed in, so that tests wait in virtual time."""

    clock: Clock
    sleep: Callable[[float], None]
    deadline_s: float
    heard: Heard = _ignore

    def call(self, what: str, operation: Callable[[], _T]) -> _T:
        """The result of ``operation``, repeated as long as it raises ``LogUnavailableError``.

        Raises:
            LogUnavailableError: still unavailable ``deadline_s`` seconds after the first try.
        """
        started = self.clock.monotonic_s()
        pause, silence = FIRST_PAUSE_S, FIRST_SILENCE_S
        tell_at: float | None = None
        while True:
            try:
                result = operation()
            except LogUnavailableError as error:
                waited = self.clock.monotonic_s() - started
                if waited + pause > self.deadline_s:
                    raise
                why = str(error)
                self.heard(what, why)
                if tell_at is None or waited >= tell_at:
                    _log.warning("log unavailable, trying again", what=what, why=why, waited_s=round(waited, 3))
                    tell_at, silence = waited + silence, min(2 * silence, LONGEST_SILENCE_S)
            else:
                self.heard(what, None)
                if tell_at is not None:
                    waited = self.clock.monotonic_s() - started
                    _log.info("log available again", what=what, waited_s=round(waited, 3))
                return result
            self.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
