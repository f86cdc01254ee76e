from __future__ import annotations

import pytest

from penstock.clock import VirtualClock
from penstock.errors import FencedError, LogUnavailableError
from penstock.runtime.patience import Patience


def failing(times: int, error: Exception) -> object:
    left = [error] * times

    def operation() -> str:
        if left:
            raise left.pop()
        return "done"

    return operation


def test_pauses_double_up_to_two_seconds() -> None:
    clock = VirtualClock()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance_s(seconds)

    result = Patience(clock, sleep, 60.0).call("it", failing(9, LogUnavailableError("away")))  # type: ignore[arg-type]
    assert result == "done"
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])


def test_it_gives_up_at_the_deadline_and_never_waits_beyond_it() -> None:
    clock = VirtualClock()
    with pytest.raises(LogUnavailableError):
        Patience(clock, clock.advance_s, 3.0).call("it", failing(1000, LogUnavailableError("away")))  # type: ignore[arg-type]
    assert 1.0 < clock.monotonic_s() <= 3.0


def test_other_errors_are_not_waited_for() -> None:
    clock = VirtualClock()
    with pytest.raises(FencedError):
        Patience(clock, clock.advance_s, 3.0).call("it", failing(1, FencedError("g", 0)))  # type: ignore[arg-type]
    assert clock.monotonic_s() == 0.0
