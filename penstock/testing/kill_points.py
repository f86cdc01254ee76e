"""Kill points: places in a stage's loop at which a test lets the process die, as a power cut would."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from penstock.errors import UsageError

VARIABLE = "PENSTOCK_KILL_AT"
#: The names that `penstock.runtime.loop.StageLoop` reaches, in the order of a step.
POINTS = ("mid_batch", "before_checkpoint", "after_checkpoint", "after_commit")


def die() -> None:
    """SIGKILL to this process: nothing is flushed, closed or cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


class KillPoints:
    """Calls ``kill`` when ``point`` is reached for the ``nth`` time (from 1), and does nothing otherwise."""

    def __init__(self, point: str, nth: int, kill: Callable[[], None] = die) -> None:
        self._point, self._nth, self._kill = point, nth, kill
        self._passed = 0

    def __call__(self, point: str) -> None:
        """A loop is at ``point``."""
        if point == self._point:
            self._passed += 1
            if self._passed == self._nth:
                self._kill()


def kill_points_for(stage: str, environment: Mapping[str, str]) -> Callable[[str], None]:
    """What a loop of ``stage`` is given as ``reached``, from ``PENSTOCK_KILL_AT=<stage>:<point>:<nth>``.

    Without the variable, or where it names another stage, the result does nothing. Only the composition root calls
    this.

    Raises:
        UsageError: the variable is set to something else.
    """
    text = environment.get(VARIABLE, "")
    if not text:
        return _pass
    name, _, rest = text.partition(":")
    point, _, nth = rest.partition(":")
    if not name or point not in POINTS or not nth.isdecimal() or int(nth) < 1:
        raise UsageError(f"{VARIABLE}={text}: expected <stage>:<point>:<nth>, with a point of {', '.join(POINTS)}")
    return KillPoints(point, int(nth)) if name == stage else _pass


def _pass(_: str) -> None:
    """Nobody is being tested."""
