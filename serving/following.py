"""What the threads of serving do for as long as it runs: follow topics, whatever becomes of the log meanwhile."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import structlog

from penstock.clock import SystemClock
from penstock.errors import LogError
from penstock.runtime.patience import Patience

#: A log that refuses, instead of being away, is asked again after this time: somebody has to mend it first.
REFUSED_PAUSE_S = 5.0

_logger = structlog.get_logger("serving")


class _StoppedError(Exception):
    """The wait for the log has ended, because serving has."""


def follow(what: str, step: Callable[[], None], stop: threading.Event) -> None:
    """Call ``step`` until ``stop`` is set. One that raises a ``LogError`` is called again; ``what`` it does is told."""

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise _StoppedError

    patience = Patience(SystemClock(), pause, math.inf)
    while not stop.is_set():
        try:
            patience.call(what, step)
        except _StoppedError:
            return
        except LogError as error:
            _logger.warning("the log refuses, trying again", what=what, why=str(error))
            stop.wait(REFUSED_PAUSE_S)
