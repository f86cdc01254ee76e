from __future__ import annotations

import math
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.blend import LOGIT_LIMIT, PROBABILITY_FLOOR, BinaryBlend, MulticlassBlend, RegressionBlend, clipped

BLENDS = {"binary": (BinaryBlend, (3,)), "multiclass": (MulticlassBlend, (3, 4)), "regression": (RegressionBlend, (3,))}


def new(task):
    kind, arguments = BLENDS[task]
    return kind(*arguments)


def drawn(task, rng):
    if task == "multiclass":
        outputs = []
        for _ in range(3):
            raw = [rng.random() ** 4 for _ in range(4)]
            outputs.append([each / sum(raw) for each in raw])
        return outputs, float(rng.randrange(4))
    if task == "binary":
        return [[rng.random()] for _ in range(3)], float(rng.random() < 0.3)
    return [[rng.gauss(0, 1)] for _ in range(3)], rng.gauss(0, 1)


def loss(task, blended, target):
    if task == "regression":
        return (blended[0] - target) ** 2
    if task == "binary":
        return -math.log(blended[0] if target else 1.0 - blended[0])
    return -math.log(blended[int(target)])


def test_it_starts_as_the_mean_of_the_log_odds():
    assert BinaryBlend(2).predict([[0.5], [0.9]]) == [pytest.approx(1 / (1 + 9**-0.5))]
    assert RegressionBlend(2).predict([[1.0], [3.0]]) == [pytest.approx(2.0)]
    same = [[0.2, 0.3, 0.5]] * 2
    assert MulticlassBlend(2, 3).predict(same) == pytest.approx(same[0])


@pytest.mark.parametrize("task", BLENDS)
def test_learning_returns_what_predicting_would_and_predicting_changes_nothing(task):
    rng, blend = random.Random(1), new(task)
    for _ in range(200):
        outputs, target = drawn(task, rng)
        before = pickle.dumps(blend)
        predicted = blend.predict(outputs)
        assert pickle.dumps(blend) == before
        assert blend.learn(outputs, target) == predicted


@pytest.mark.parametrize("task", BLENDS)
def test_it_finds_the_good_member_and_a_new_one_when_that_fails(task):
    rng, blend = random.Random(2), new(task)

    def outputs_with(good, target):
        outputs, _ = drawn(task, rng)
        if task == "multiclass":
            outputs[good] = [0.85 if index == target else 0.05 for index in range(4)]
        elif task == "binary":
            outputs[good] = [0.85 if target else 0.15]
        else:
            outputs[good] = [target + rng.gauss(0, 0.1)]
        return outputs

    for good in (0, 2):
        losses = []
        for _ in range(3000):
            _, target = drawn(task, rng)
            losses.append(loss(task, blend.learn(outputs_with(good, target), target), target))
        assert sum(losses[-500:]) / 500 < {"binary": 0.2, "multiclass": 0.25, "regression": 0.05}[task]


def test_a_member_that_is_always_wrong_is_turned_around():
    rng, blend = random.Random(3), BinaryBlend(1)
    for _ in range(1500):
        target = rng.random() < 0.5
        blend.learn([[0.1 if target else 0.9]], float(target))
    assert blend.predict([[0.1]])[0] > 0.9


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.sampled_from((0.0, 1.0))),
        min_size=1,
        max_size=60,
    )
)
def test_probabilities_stay_within_the_floor_whatever_members_say(rows):
    blend = BinaryBlend(3)
    for values, target in rows:
        probability = blend.learn([[value] for value in values], target)[0]
        assert PROBABILITY_FLOOR <= probability <= 1 - PROBABILITY_FLOOR


def test_alike_members_and_certain_rows_for_long_keep_it_regular():
    for blend, outputs in ((BinaryBlend(4), [[1.0]] * 4), (MulticlassBlend(4, 3), [[0.0, 0.0, 1.0]] * 4)):
        for _ in range(20_000):
            blend.learn(outputs, 1.0 if len(outputs[0]) == 1 else 2.0)
        score = blend.predict(outputs)
        assert score[-1] > 0.99
        assert all(math.isfinite(each) for each in score)


def test_an_outlying_target_moves_a_regression_blend_by_a_bounded_step():
    blend = RegressionBlend(1)
    for _ in range(300):
        blend.learn([[1.0]], 1.0)
    blend.learn([[1.0]], 1e6)
    assert blend.predict([[1.0]])[0] == pytest.approx(1.0, abs=0.1)


def test_members_that_are_certain_count_as_much_as_those_at_the_limit():
    limit = 1.0 / (1.0 + math.exp(-LOGIT_LIMIT))
    for certain, at_limit in ((1.0, limit), (0.0, 1.0 - limit)):
        said = [BinaryBlend(1).predict([[each]])[0] for each in (certain, at_limit)]
        assert said[0] == pytest.approx(said[1], rel=1e-9)


def test_where_positives_are_rare_the_blend_keeps_the_order_among_small_probabilities():
    # One in 200; the good member's log odds are right and nearly all below -5, the other one is noise.
    chance, blend = random.Random(3), BinaryBlend(2)
    told, truth = [], []
    for _ in range(12_000):
        odds = chance.gauss(-6.5, 1.5)
        probability = 1.0 / (1.0 + math.exp(-odds))
        truth.append(chance.random() < probability)
        told.append(blend.learn([[probability], [chance.random() * 0.01]], float(truth[-1]))[0])
    blend_of_few = blend.predict([[0.0004], [0.005]])[0] / blend.predict([[0.004], [0.005]])[0]
    assert blend_of_few < 0.3  # of members' 0.1; cut at -5 both were alike
    assert sum(told) == pytest.approx(sum(truth), rel=0.2)


def test_probabilities_are_cut():
    assert clipped(0.0) == PROBABILITY_FLOOR
    assert clipped(1.0) == 1 - PROBABILITY_FLOOR
