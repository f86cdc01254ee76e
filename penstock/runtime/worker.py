"""A worker: several stage loops, cooperatively, in one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from penstock.runtime.loop import StageLoop

#: Pauses while no loop has work double up to 10 ms, which an idle core does not notice and a first record may wait.
FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.01
#: A loop that is alone waits in its poll, where a record of the same process wakes it at once.
POLL_WAIT_S = 0.05


def run_loops(loops: Sequence[StageLoop], stop: threading.Event | Callable[[], bool]) -> None:
    """Step ``loops`` in turn until ``stop`` is set (or returns true), then close all of them.

    A single loop waits in its own poll. When a loop raises, the others are closed gracefully (with their last
    checkpoints) before the error goes on.

    Raises:
        PenstockError: whatever a loop's step raised.
    """
    stopped, wait = (stop.is_set, stop.wait) if isinstance(stop, threading.Event) else (stop, time.sleep)
    own_wait_s = POLL_WAIT_S if len(loops) == 1 else 0.0
    pause = FIRST_PAUSE_S
    with ExitStack() as closing:
        for loop in loops:
            closing.callback(loop.close)
        while not stopped():
            worked = False
            for loop in loops:
                worked = (not stopped() and loop.step(own_wait_s) > 0) or worked
            if worked:
                pause = FIRST_PAUSE_S
            elif not own_wait_s:
                wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
