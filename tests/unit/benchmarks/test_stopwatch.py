"""What a turn's time is."""

from __future__ import annotations

from benchmarks.contest import Turn
from benchmarks.loops.stopwatch import Stopwatch


def test_a_turn_runs_from_the_first_start_to_the_last_mark() -> None:
    watch = Stopwatch()
    watch.start()
    watch.mark()
    first = watch.turn()["seconds"]
    watch.start()
    watch.mark()
    watch.records = 7
    turn = Turn(**watch.turn())
    assert turn.seconds > first
    assert turn.records == 7
