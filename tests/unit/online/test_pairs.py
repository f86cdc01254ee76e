from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from online.pairs import LossPairs
from penstock.events import Example, Prediction
from penstock.spec import Numeric, Pipeline

BINARY = Pipeline(name="b", task="binary", target="y", classes=("no", "yes"), features=(Numeric("a"),))
MULTI = Pipeline(name="m", task="multiclass", target="y", classes=("z", "b"), features=(Numeric("a"),))
REGRESSION = Pipeline(name="r", task="regression", target="y", features=(Numeric("a"),))


def example(value, served, shadow, role="champion", version="v1"):
    prediction = Prediction(
        id="i", entity="i", event_time_ms=0, features={"a": 1.0}, version=version, generation=1, decision=value,
        role=role, shadow=shadow,
    )  # fmt: skip
    named = {"scores": served} if isinstance(served, dict) else {"score": served}
    return Example(id="i", prediction=msgspec.structs.replace(prediction, **named), value=value, label_time_ms=1)


def test_both_losses_and_their_difference_on_the_same_rows():
    rng = np.random.default_rng(3)
    rows = [(str(rng.choice(["no", "yes"])), *map(float, rng.uniform(0.0, 1.0, 2))) for _ in range(50)]
    pairs = LossPairs(BINARY)
    for index, (value, one, other) in enumerate(rows):
        # Whoever answered: the pair is the same.
        if index % 3:
            pairs.add(example(value, one, {"v2": other}))
        else:
            pairs.add(example(value, other, {"v1": one}, role="canary", version="v2"))
    losses = np.array([[-math.log(p if value == "yes" else 1.0 - p) for p in both] for value, *both in rows])
    (pair,) = pairs.flush()
    assert (pair.first, pair.second, pair.n) == ("v1", "v2", 50)
    assert (pair.first_loss, pair.second_loss) == pytest.approx(tuple(losses.sum(axis=0)))
    assert pair.difference_squared == pytest.approx(((losses[:, 0] - losses[:, 1]) ** 2).sum())
    assert pairs.flush() == []


def test_every_two_of_three_and_a_restart_in_between():
    pairs = LossPairs(MULTI)
    one = example("z", {"z": 0.5, "b": 0.5}, {"online": {"z": 1.0, "b": 0.0}, "v0": {"z": 0.25, "b": 0.75}})
    pairs.add(one)
    again = LossPairs(MULTI)
    again.restore(pairs.state())
    again.add(one)
    found = {(pair.first, pair.second): (pair.n, pair.first_loss, pair.second_loss) for pair in again.flush()}
    assert found[("v0", "v1")] == pytest.approx((2, 2 * math.log(4), 2 * math.log(2)))
    assert set(found) == {("online", "v0"), ("online", "v1"), ("v0", "v1")}


def test_a_regression_loses_its_absolute_error_and_one_version_alone_is_no_pair():
    pairs = LossPairs(REGRESSION)
    pairs.add(example(3.0, 5.0, {"online": 2.0}))
    pairs.add(example(3.0, 5.0, {}))
    (pair,) = pairs.flush()
    assert (pair.first, pair.n, pair.first_loss, pair.second_loss, pair.difference_squared) == (
        "online",
        1,
        1.0,
        2.0,
        1.0,
    )
