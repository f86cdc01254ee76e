"""Turns, medians and ratios."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks.contest import Turn, alternate, ratio, standing


def test_every_second_round_goes_in_reverse_order() -> None:
    order: list[tuple[str, int]] = []

    def turn(name: str, number: int) -> Turn:
        order.append((name, number))
        return Turn(1, 1.0, 1.0)

    turns = alternate({"a": partial(turn, "a"), "b": partial(turn, "b")}, 3)
    assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert {name: len(taken) for name, taken in turns.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_of_medians_so_one_bad_turn_does_not_count() -> None:
    fast = [Turn(100, 1.0, 0.5), Turn(100, 1.0, 0.5), Turn(100, 50.0, 0.5)]
    slow = [Turn(100, 2.0, 1.0), Turn(100, 2.0, 1.0), Turn(100, 0.01, 1.0)]
    assert standing(fast).per_second == 100.0
    assert standing(fast).cpu_us_per_record == pytest.approx(5000.0)
    assert ratio(fast, slow) == pytest.approx(2.0)
