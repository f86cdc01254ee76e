from __future__ import annotations

from itertools import pairwise

import pytest
from structlog.testing import capture_logs

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


def test_an_outage_is_told_at_once_then_ever_more_rarely_and_its_end_once() -> None:
    clock = VirtualClock()
    heard: list[tuple[str, str | None]] = []

    def operation() -> str:
        if clock.monotonic_s() < 600:
            raise LogUnavailableError("away")
        return "done"

    with capture_logs() as lines:
        Patience(clock, clock.advance_s, 900.0, lambda what, why: heard.append((what, why))).call("poll", operation)
    told = [round(line["waited_s"]) for line in lines if line["log_level"] == "warning"]
    assert told[0] == 0
    assert len(told) < 16
    silences = [after - before for before, after in pairwise(told)]
    assert silences == sorted(silences)
    assert max(silences) <= 62
    assert [line["event"] for line in lines if line["log_level"] == "info"] == ["log available again"]
    assert heard[0] == ("poll", "away")
    assert heard[-1] == ("poll", None)


def test_what_succeeds_at_once_says_nothing() -> None:
    heard: list[tuple[str, str | None]] = []
    clock = VirtualClock()
    with capture_logs() as lines:
        Patience(clock, clock.advance_s, 1.0, lambda *told: heard.append(told)).call("poll", lambda: 1)
    assert lines == []
    assert heard == [("poll", None)]
