from __future__ import annotations

from penstock.clock import VirtualClock
from penstock.errors import LogUnavailableError
from penstock.runtime.patience import Patience
from penstock.runtime.pulse import LIVE_WITHIN_S, Pulse


def test_it_waits_from_the_start_on_until_it_has_started() -> None:
    pulse = Pulse(VirtualClock())
    assert pulse.waits_for == "starting"
    pulse.heard("start", None)
    assert pulse.waits_for is None


def test_a_wait_for_the_log_is_live_and_says_why_and_its_end_is_noticed() -> None:
    clock = VirtualClock()
    pulse = Pulse(clock)
    pulse.heard("start", None)
    seen: list[tuple[bool, str | None]] = []

    def operation() -> None:
        seen.append((pulse.live, pulse.waits_for))
        if clock.monotonic_s() < 10 * LIVE_WITHIN_S:
            raise LogUnavailableError("the broker is away")

    Patience(clock, clock.advance_s, 1e9, pulse.heard).call("poll", operation)
    assert seen[0] == (True, None)
    assert set(seen[1:]) == {(True, "the broker is away")}
    assert pulse.waits_for is None


def test_one_call_that_succeeds_does_not_hide_that_another_waits() -> None:
    pulse = Pulse(VirtualClock())
    pulse.heard("start", None)
    pulse.heard("commit", "the coordinator is away")
    pulse.heard("poll", None)
    assert pulse.waits_for == "the coordinator is away"


def test_silence_means_that_something_hangs() -> None:
    clock = VirtualClock()
    pulse = Pulse(clock)
    clock.advance_s(LIVE_WITHIN_S - 0.1)
    assert pulse.live
    clock.advance_s(0.2)
    assert not pulse.live
    pulse.heard("poll", None)
    assert pulse.live
