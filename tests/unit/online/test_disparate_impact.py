from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from online.disparate_impact import judge

NAMES = ["f", "m"]


def test_a_pair_is_judged_by_its_log_ratio():
    verdict = judge(NAMES, [[400, 500], [300, 500]], [[1600, 2000], [1520, 2000]])
    assert (verdict.group, verdict.other) == ("m", "f")
    assert verdict.ratio == pytest.approx(0.75, abs=0.001)
    assert verdict.limit == verdict.before == pytest.approx(0.95, abs=0.001)
    spread = (0.4 / 300 + 0.2 / 400) + (0.24 / 1520 + 0.2 / 1600)
    z = (math.log(0.75) - math.log(0.95)) / math.sqrt(spread)
    assert verdict.p_value == pytest.approx(2 * norm.cdf(z), rel=0.1)
    assert verdict.effect == pytest.approx(0.20, abs=0.002)


def test_a_fall_below_four_fifths_is_measured_from_above_it():
    verdict = judge(NAMES, [[9000, 10000], [7000, 10000]], [[9000, 10000], [7400, 10000]])
    assert verdict.limit == 0.85
    assert verdict.effect == pytest.approx(0.85 - 7 / 9, abs=0.001)
    assert verdict.p_value < 1e-3
    # but it is a fall that must be significant, not the distance from what was never reached
    assert judge(NAMES, [[900, 1000], [728, 1000]], [[9000, 10000], [7300, 10000]]).p_value > 0.5


def test_what_always_was_unequal_is_no_incident():
    unequal = [[900, 1000], [600, 1000]]
    verdict = judge(NAMES, unequal, unequal)
    assert (verdict.effect, verdict.p_value) == (0.0, 1.0)


def test_who_loses_an_advantage_is_no_alarm():
    verdict = judge(NAMES, [[700, 1000], [700, 1000]], [[630, 1000], [700, 1000]])
    assert verdict.effect == 0.0 or verdict.p_value == 1.0
    verdict = judge(NAMES, [[720, 1000], [700, 1000]], [[600, 1000], [700, 1000]])
    assert (verdict.effect, verdict.p_value) == (0.0, 1.0)


def test_groups_that_are_too_small_are_not_judged():
    assert judge(NAMES, [[50, 99], [50, 100]], [[50, 100], [50, 100]]) is None
    assert judge(NAMES, [[50, 100], [50, 100]], [[50, 100]]) is None
    assert judge([], [], []) is None


def test_who_has_recovered_is_no_alarm():
    counts, reference = [[3200, 4000], [2800, 4000]], [[8000, 10000], [7900, 10000]]
    assert judge(NAMES, counts, reference).p_value < 1e-5
    assert judge(NAMES, counts, reference, [[[800, 1000], [790, 1000]]]).p_value == 1.0
    assert judge(NAMES, counts, reference, [[[800, 1000], [700, 1000]]]).p_value < 1e-5
    # the newest part has too few of one group: the next one speaks
    few, more = [[800, 1000], [5, 6]], [[1600, 2000], [1580, 2000]]
    assert judge(NAMES, counts, reference, [few, more]).p_value == 1.0
    assert judge(NAMES, counts, reference, [few]).p_value < 1e-5
    assert judge(NAMES, counts, reference, [[[800, 1000]]]).p_value < 1e-5


def test_few_favourable_answers_are_no_proof():
    """16 of 100 where 5 are usual is a chance of 1e-5; the variance at the rates seen would make it less than 1e-6."""
    verdict = judge(NAMES, [[500, 10_000], [16, 100]], [[5000, 100_000], [500, 10_000]])
    assert verdict.p_value > 1e-4


counts_of_one = st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)).map(list))
counts_of_all = st.lists(counts_of_one, max_size=4)


@given(counts_of_all, counts_of_all, st.lists(counts_of_all, max_size=2))
def test_any_counts_have_a_finite_verdict(counts, reference, newer):
    verdict = judge("abcd", counts, reference, newer)
    if verdict is not None:
        assert all(map(math.isfinite, (verdict.ratio, verdict.before, verdict.limit, verdict.p_value)))
        assert 0.0 <= verdict.p_value <= 1.0
        assert 0.0 <= verdict.effect <= 1.0
