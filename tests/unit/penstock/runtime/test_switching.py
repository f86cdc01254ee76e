from __future__ import annotations

import sys

from penstock.runtime.switching import SWITCH_S, switch_promptly


def test_a_thread_that_waits_gets_its_turn_soon() -> None:
    before = sys.getswitchinterval()
    try:
        switch_promptly()
        assert sys.getswitchinterval() == SWITCH_S < 0.005
    finally:
        sys.setswitchinterval(before)
