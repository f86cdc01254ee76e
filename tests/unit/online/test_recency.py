from __future__ import annotations

import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.recency import LAG_LIMIT, MAX_CLASSES, RATES, UNIFORM, Recency
from penstock.models import pickles


def after(targets, task="binary", classes=2):
    recency = Recency(task, classes)
    for target in targets:
        recency.learn(target)
    return recency


def test_before_any_outcome_it_says_nothing():
    assert Recency("binary", 2).forecasts() == [[0.5]] * len(RATES)
    assert Recency("multiclass", 4).forecasts() == [[0.25] * 4] * len(RATES)
    assert Recency("regression", 0).forecasts() == [[0.0]] * len(RATES)


def test_the_first_forecast_is_the_last_outcome_with_a_uniform_share():
    assert after([0.0, 1.0]).forecasts()[0] == pytest.approx([1.0 - UNIFORM / 2])
    assert after([2.0], "multiclass", 4).forecasts()[0] == pytest.approx([0.025, 0.025, 0.925, 0.025])
    assert after([-1.5], "regression", 0).forecasts()[0] == [-1.5]


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multiclass", 3), ("regression", 0)])
@pytest.mark.parametrize("lag", [0, 1, 7, 300])
def test_at_a_lag_it_says_what_it_said_that_many_outcomes_ago(task, classes, lag):
    rng = random.Random(5)
    targets = [rng.gauss(0, 1) if task == "regression" else float(rng.randrange(classes)) for _ in range(500)]
    recency = Recency(task, classes)
    for index, target in enumerate(targets):
        known = targets[: max(index - lag, 0)]
        if index >= lag and index % 50 == 0:
            assert recency.forecasts_at(lag) == after(known, task, classes).forecasts()
        elif index >= lag:
            recency.forecasts_at(lag)
        recency.learn(target)


def test_where_the_lag_is_not_known_it_is_the_one_before_and_a_long_one_says_nothing():
    recency = after([1.0] * 50 + [0.0] * 5)
    before = recency.forecasts_at(5)
    assert before == recency.forecasts_at(None) == after([1.0] * 50).forecasts()
    assert recency.forecasts_at(0) == recency.forecasts_at(None) == recency.forecasts() != before
    assert recency.forecasts_at(LAG_LIMIT + 1) == recency.forecasts_at(None) == [[0.5]] * len(RATES)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.none() | st.integers(-3, LAG_LIMIT + 5)), max_size=80))
def test_forecasts_are_probabilities_and_survive_a_pickle_at_any_point(rows):
    recency = Recency("binary", 2)
    for target, lag in rows:
        copy = pickles.loads(pickles.dumps(recency))
        assert recency.forecasts_at(lag) == copy.forecasts_at(lag)
        assert all(0.0 < each[0] < 1.0 for each in recency.forecasts())
        recency.learn(float(target))


def test_what_it_remembers_is_bounded():
    assert len(pickle.dumps(after([1.0, 0.0] * LAG_LIMIT))) < 30_000
    assert Recency("multiclass", MAX_CLASSES + 1).count == len(Recency("multiclass", MAX_CLASSES + 1).forecasts()) == 0
