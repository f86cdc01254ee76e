from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import SystemClock, VirtualClock


@given(st.lists(st.integers(-10_000, 10_000)))
def test_virtual_time_never_goes_back(moments: list[int]) -> None:
    clock = VirtualClock(5)
    seen = [(clock.now_ms(), clock.monotonic_s())]
    for moment in moments:
        clock.advance_to_ms(moment)
        seen.append((clock.now_ms(), clock.monotonic_s()))
    assert seen == sorted(seen)
    assert seen[-1][0] == max([5, *moments])


def test_both_virtual_clocks_move_together() -> None:
    clock = VirtualClock()
    clock.advance_s(1.5)
    clock.advance_to_ms(2_000)
    assert (clock.now_ms(), clock.monotonic_s()) == (2_000, 2.0)


def test_the_system_clock_speaks_milliseconds_of_this_century() -> None:
    clock = SystemClock()
    assert 1_600_000_000_000 < clock.now_ms() < 4_100_000_000_000
    assert clock.monotonic_s() <= clock.monotonic_s()
