"""SIGTERM and Ctrl-C: what they set in motion, once, however often they come."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` at the first SIGTERM or SIGINT; later ones change nothing, to the very end of the process.

    The event is set by a thread, because a handler interrupts the main thread anywhere: inside ``stop.wait()`` it would
    wait for a lock that the interrupted code holds. The handler itself only writes a byte into a pipe. After the block
    the process is about to end and the signals are ignored (the interpreter takes its handlers away before it is gone);
    after an error they are what they were.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def handler(*_: object) -> None:
        try:
            os.write(writing, b"\0")
        except BlockingIOError:  # thousands of signals: the first is read already
            return

    def watch() -> None:
        os.read(reading, 1)
        stop.set()

    threading.Thread(target=watch, name="signals", daemon=True).start()
    former = {number: signal.signal(number, handler) for number in _NUMBERS}
    try:
        yield
    except BaseException:
        for number, before in former.items():
            signal.signal(number, before)
        raise
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
