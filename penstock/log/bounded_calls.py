"""Calls of client libraries that may never come back, whatever time-out they are given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def within(timeout_s: float, call: Callable[[], _T]) -> _T:
    """What ``call`` returns or raises, in a thread of its own.

    Raises:
        TimeoutError: it has not come back; its thread is left behind, and ends with the process at the latest.
    """
    answer: Future[_T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            answer.set_exception(error)

    threading.Thread(target=run, name="penstock-call", daemon=True).start()
    return answer.result(timeout_s)
