from __future__ import annotations

import math
import random

import pytest
from river import linear_model, optim

from online.encoding import Encoded
from online.linear import LinearBinary, LinearMulticlass, LinearRegression, sigmoid, softmax


def rows(n, width=5, seed=2):
    rng = random.Random(seed)
    for _ in range(n):
        numbers = [rng.gauss(0, 1) for _ in range(width)]
        active = [rng.randrange(4)]
        yield Encoded(numbers, numbers, active), numbers[0] - numbers[1] + active[0] - 1.5 + rng.gauss(0, 0.5)


def river_row(x, limit):
    row = {f"n{i}": number for i, number in enumerate(x.numbers)} | {f"a{column}": 1.0 for column in x.active}
    factor = min(1.0, limit / x.length)
    return {name: value * factor for name, value in row.items()}


@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_it_is_rivers_logistic_regression_on_shortened_rows(rate):
    ours, theirs = LinearBinary(rate, 5), linear_model.LogisticRegression(optim.SGD(rate), intercept_lr=rate)
    for x, signal in rows(500):
        row = river_row(x, math.sqrt(1.5 / rate))
        output = ours.predict(x)
        assert output[0] == pytest.approx(theirs.predict_proba_one(row)[True], abs=1e-9)
        ours.learn(x, float(signal > 0), output)
        theirs.learn_one(row, signal > 0)


def test_softmax_regression_learns_classes():
    model, hits = LinearMulticlass(0.1, 5, 3), 0
    for index, (x, signal) in enumerate(rows(1500)):
        label = 0 if signal < -1 else 1 if signal < 1 else 2
        output = model.predict(x)
        assert sum(output) == pytest.approx(1.0)
        hits += index >= 1000 and output[label] == max(output)
        model.learn(x, float(label), output)
    assert hits / 500 > 0.65


def test_one_outlying_target_moves_a_regression_by_a_bounded_step():
    model = LinearRegression(0.1, 5)
    for x, signal in rows(500):
        model.learn(x, signal, model.predict(x))
    x, signal = next(rows(1, seed=9))
    before = model.predict(x)[0]
    assert before == pytest.approx(signal, abs=1.5)
    model.learn(x, 1e9, model.predict(x))
    assert abs(model.predict(x)[0] - before) < 0.1 * (1 + x.length**2) + 1e-9


def test_links_do_not_overflow():
    assert sigmoid(-1e6) == 0.0
    assert sigmoid(1e6) == 1.0
    assert softmax([1e6, -1e6]) == [1.0, 0.0]
