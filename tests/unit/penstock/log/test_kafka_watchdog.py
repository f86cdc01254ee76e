from __future__ import annotations

import threading
import time

import pytest

from penstock.log.kafka_watchdog import Watchdog


class Bites:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.bitten = threading.Event()

    def __call__(self, what: str) -> None:
        self.calls.append(what)
        self.bitten.set()


def test_a_call_that_hangs_is_ended() -> None:
    bites = Bites()
    dog = Watchdog(0.05, bites)
    with dog.guard("commit"):
        assert bites.bitten.wait(5)
    assert bites.calls == ["commit"]
    with dog.guard("abort"):
        bites.bitten.clear()
        assert bites.bitten.wait(5)
    assert bites.calls == ["commit", "abort"]
    dog.close()
    dog.close()


def test_calls_that_return_are_left_alone() -> None:
    bites = Bites()
    dog = Watchdog(0.2, bites)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        with dog.guard("commit"):
            pass
    dog.close()
    assert bites.calls == []


def test_an_error_disarms_it_too() -> None:
    bites = Bites()
    dog = Watchdog(0.05, bites)
    with pytest.raises(ValueError, match="no"), dog.guard("commit"):
        raise ValueError("no")
    assert not bites.bitten.wait(0.2)
    dog.close()
