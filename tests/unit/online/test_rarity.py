from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.rarity import LEAST, RARE, Rarity


def _after(targets: list[float]) -> Rarity:
    rarity = Rarity()
    for target in targets:
        rarity.learn(target)
    return rarity


def test_a_stream_with_enough_of_both_classes_is_as_it_was():
    rarity = _after([1.0, 0.0, 0.0, 0.0, 0.0] * 400)
    assert (rarity.row, rarity.shift) == (1.0, 0.0)


def test_a_few_rows_of_one_class_make_the_other_one_not_rare_yet():
    assert _after([0.0] * 200).row == 1.0


@pytest.mark.parametrize(("rare", "sign"), [(1.0, -1.0), (0.0, 1.0)])
def test_one_in_fifty_counts_a_fifth_of_a_row_and_shifts_to_its_side(rare, sign):
    rarity = _after([rare, *[1.0 - rare] * 49] * 400)
    assert rarity.row == pytest.approx(0.2, rel=0.1)
    assert rarity.shift == pytest.approx(sign * (math.log(49.0) - math.log(9.0)), abs=0.1)


@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=30), st.sampled_from([0.0, 1.0]))
def test_row_and_shift_stay_bounded_and_without_a_jump_at_the_limit(start, rest):
    rarity = _after(start)
    row, shift = rarity.row, rarity.shift
    for _ in range(2_000):
        rarity.learn(rest)
        assert LEAST / RARE <= rarity.row <= 1.0
        assert (rarity.row == 1.0) == (rarity.shift == 0.0)
        assert abs(rarity.row - row) < 0.02
        assert abs(rarity.shift - shift) < 0.2
        row, shift = rarity.row, rarity.shift
