from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from penstock.runtime.collector import YOUNG, calm_collector


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_is_there_is_left_alone_and_cycles_are_still_found() -> None:
    calm_collector()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == YOUNG
    before = gc.get_stats()[0]["collected"]
    for _ in range(2 * YOUNG):
        cycle: list[object] = []
        cycle.append(cycle)
    assert gc.get_stats()[0]["collected"] > before
