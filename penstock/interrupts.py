"""Who hears Ctrl-C: a terminal sends it to every process of a command at once, but only the first one should act."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, from their first moment on: their parent does, and ends them.

    Blocked signals stay so in a new process. One that comes to this process meanwhile is delivered at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
