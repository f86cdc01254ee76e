"""SIGTERM and Ctrl-C: what they set in motion, once, however often they come."""

from __future__ import annotations

import os
import signal
import threading


def stop_on_signals(stop: threading.Event) -> None:
    """Set ``stop`` at the first SIGTERM or SIGINT; later ones change nothing.

    The event is set by a thread, because a handler interrupts the main thread anywhere: inside ``stop.wait()`` it would
    wait for a lock that the interrupted code holds. The handler itself only writes a byte into a pipe.
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
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
