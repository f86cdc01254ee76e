from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from penstock.log.embedded_lock import FileLock


def test_only_one_holds_it(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire(1.0)
    assert not second.acquire(0.01)
    first.release()
    assert second.acquire(10.0)
    assert not first.acquire(0.01)
    second.release()
    first.close()
    second.close()


def test_what_comes_too_late_is_given_back(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire(1.0)
    assert not second.acquire(0.01)  # its waiter stays in the kernel's queue
    first.release()
    for _ in range(20):
        assert first.acquire(10.0)  # so the waiter has given back what it got
        first.release()
    first.close()
    second.close()


def test_closing_while_its_waiter_is_blocked_frees_the_lock_later(tmp_path: Path) -> None:
    first, second, third = (FileLock(tmp_path / "lock") for _ in range(3))
    assert first.acquire(1.0)
    assert not second.acquire(0.01)
    second.close()
    first.release()
    assert third.acquire(10.0)
    third.release()
    first.close()
    third.close()


@pytest.mark.parametrize("contenders", [2, 5])
def test_contenders_never_meet_and_all_get_their_turns(tmp_path: Path, contenders: int) -> None:
    inside, met, turns = 0, 0, [0] * contenders

    def contend(number: int) -> None:
        nonlocal inside, met
        lock = FileLock(tmp_path / "lock")
        for _ in range(40):
            assert lock.acquire(30.0)
            inside += 1
            met += inside > 1
            time.sleep(0.0005)
            inside -= 1
            turns[number] += 1
            lock.release()
        lock.close()

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(contenders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert met == 0
    assert turns == [40] * contenders
