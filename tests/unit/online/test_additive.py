from __future__ import annotations

import math
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.additive import CELLS, MAX_PAIR_WEIGHTS, MAX_PAIRS, Additive
from online.encoding import MISSING, Encoded


def encoded(numbers):
    return Encoded(numbers, numbers, [])


def errors(model, signal, n=4000, last=1000, seed=1):
    """Mean log loss (or absolute error) over the last rows of a stream whose outcome is ``signal(numbers, rng)``."""
    rng, total = random.Random(seed), 0.0
    for index in range(n):
        numbers = [rng.gauss(0, 1) for _ in range(3)]
        x, target = encoded(numbers), float(signal(numbers, rng))
        output = model.predict(x)
        if index >= n - last:
            if model._task == "regression":
                total += abs(output[0] - target)
            else:
                p = output[0] if target else 1.0 - output[0]
                total -= math.log(output[int(target)] if model._task == "multiclass" else p)
        model.learn(x, target, output)
    return total / last


def test_a_curve_that_no_line_fits_is_learned():
    def signal(numbers, rng):
        return abs(numbers[0]) > 0.7

    assert errors(Additive("binary", 2, 3, pairs=False), signal) < 0.35


def test_an_interaction_needs_pairs():
    def signal(numbers, rng):
        return numbers[0] * numbers[1] > 0

    alone = errors(Additive("binary", 2, 3, pairs=False), signal)
    paired = errors(Additive("binary", 2, 3, pairs=True), signal)
    assert alone > 0.65
    assert paired < 0.6


def test_classes_and_values_are_learned_too():
    def label(numbers, rng):
        return 0 if abs(numbers[0]) < 0.5 else 1 if abs(numbers[0]) < 1 else 2

    def value(numbers, rng):
        return abs(numbers[0]) + rng.gauss(0, 0.1)

    assert errors(Additive("multiclass", 3, 3, pairs=False), label) < 0.75
    assert errors(Additive("regression", 0, 3, pairs=True), value) < 0.2


def test_a_change_is_followed_however_old_the_model_is():
    model, rng = Additive("binary", 2, 1, pairs=False), random.Random(3)
    for index in range(14_000):
        numbers = [rng.gauss(0, 1)]
        x = encoded(numbers)
        target = float((numbers[0] > 0) == (index < 10_000))
        model.learn(x, target, model.predict(x))
    assert model.predict(encoded([1.5]))[0] < 0.5


def test_many_columns_and_classes_are_bounded():
    model = Additive("binary", 2, 300, pairs=True)
    assert len(model._grids._left) == MAX_PAIRS
    assert len({*zip(model._grids._left.tolist(), model._grids._right.tolist(), strict=True)}) == MAX_PAIRS
    many = Additive("multiclass", 500, 20, pairs=True)
    assert len(many._grids._left) * CELLS**2 * 500 <= MAX_PAIR_WEIGHTS
    x = encoded([0.1] * 20)
    many.learn(x, 7.0, many.predict(x))
    assert sum(many.predict(x)) == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 10) | st.just(MISSING), st.booleans()), min_size=1, max_size=40))
def test_scoring_changes_nothing_and_probabilities_stay_inside(rows):
    model = Additive("binary", 2, 2, pairs=True)
    for number, target in rows:
        x = encoded([number, -number])
        before = pickle.dumps(model)
        output = model.predict(x)
        assert pickle.dumps(model) == before
        assert 0.0 < output[0] < 1.0
        model.learn(x, float(target), output)
        assert np.isfinite(model.predict(encoded([number, -number]))[0])
