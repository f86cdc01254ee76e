from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from penstock.errors import StageBugError
from penstock.runtime.worker import run_loops


class FakeLoop:
    """Has ``work`` batches to do."""

    def __init__(self, name: str, work: int, journal: list[str]) -> None:
        self.name, self.work, self.journal = name, work, journal
        self.waits: list[float] = []
        self.closed = 0

    def step(self, timeout_s: float) -> int:
        self.waits.append(timeout_s)
        if not self.work:
            return 0
        self.work -= 1
        self.journal.append(self.name)
        return 1

    def close(self) -> None:
        self.closed += 1


def stop_after(asked: int) -> Any:
    """True from the question after the first ``asked`` on; it is put before each turn and before each step."""
    left = iter([False] * asked + [True] * 10)
    return lambda: next(left)


def test_loops_take_turns_and_are_all_closed() -> None:
    journal: list[str] = []
    loops: Any = [FakeLoop("a", 3, journal), FakeLoop("b", 2, journal)]
    run_loops(loops, stop_after(4 * 3))
    assert journal == ["a", "b", "a", "b", "a"]
    assert [loop.closed for loop in loops] == [1, 1]
    assert set(loops[0].waits) == {0.0}


def test_a_stop_is_heard_between_two_loops() -> None:
    journal: list[str] = []
    loops: Any = [FakeLoop(name, 9, journal) for name in "abc"]
    run_loops(loops, stop_after(2))
    assert journal == ["a"]
    assert [loop.closed for loop in loops] == [1, 1, 1]


def test_a_single_loop_waits_in_its_own_poll() -> None:
    loop: Any = FakeLoop("a", 0, [])
    run_loops([loop], stop_after(2))
    assert min(loop.waits) > 0


def test_an_error_closes_all_loops_and_goes_on() -> None:
    class Broken(FakeLoop):
        def step(self, timeout_s: float) -> int:
            raise StageBugError("broken", "requests", 0, 7, "x")

    loops: Any = [FakeLoop("a", 9, []), Broken("b", 0, []), FakeLoop("c", 9, [])]
    with pytest.raises(StageBugError):
        run_loops(loops, stop_after(5))
    assert [loop.closed for loop in loops] == [1, 1, 1]


def test_an_idle_worker_stops_at_once_when_the_event_is_set() -> None:
    stop = threading.Event()
    loops: Any = [FakeLoop("a", 0, []), FakeLoop("b", 0, [])]
    worker = threading.Thread(target=run_loops, args=(loops, stop))
    worker.start()
    deadline = time.monotonic() + 10
    while len(loops[1].waits) < 10 and time.monotonic() < deadline:
        time.sleep(0.001)
    stop.set()
    worker.join(10)
    assert not worker.is_alive()
    assert [loop.closed for loop in loops] == [1, 1]
    assert len(loops[1].waits) >= 10


def test_two_real_loops_in_one_thread(rig: Any) -> None:
    rig.feed(0, 30)
    loop = rig.loop()
    run_loops([loop, rig.loop(member="other")], lambda: len(rig.values("predictions")) >= 30)
    assert rig.values("predictions") == rig.fresh_fold()[0]
    usable = next(rig.checkpoints.candidates("summer", 0)).checkpoint
    assert usable.offsets["requests"] == 30
