from __future__ import annotations

import random
from dataclasses import replace

import pytest

from online import snapshot
from online.committee import Committee
from penstock.errors import ArtifactError
from penstock.models import pickles
from penstock.spec import DriftPolicy, Numeric, Pipeline

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    classes=("no", "yes"),
    features=(Numeric("a"), Numeric("b")),
    tier="balanced",
)


def examples(n, seed=1):
    rng = random.Random(seed)
    for _ in range(n):
        row = {"a": rng.gauss(0, 1), "b": rng.random()}
        yield row, "yes" if row["a"] > row["b"] else "no"


@pytest.fixture(scope="module")
def model():
    committee = Committee(PIPELINE)
    for row, outcome in examples(300):
        committee.learn_one(row, outcome)
    return committee


def test_a_loaded_snapshot_goes_on_bit_identically(model):
    copy = snapshot.load(PIPELINE, snapshot.dump(model))
    assert copy.learned == 300
    assert copy.members == model.members
    twin = snapshot.load(PIPELINE, snapshot.dump(copy))
    for row, outcome in examples(200, seed=2):
        assert copy.learn_one(row, outcome) == twin.learn_one(row, outcome)
    rows = [row for row, _ in examples(50, seed=3)]
    assert copy.score_many(rows) == twin.score_many(rows)


def test_thresholds_may_change_under_a_snapshot(model):
    changed = replace(PIPELINE, threshold=0.3, drift=DriftPolicy(effect_floor=0.2))
    assert snapshot.load(changed, snapshot.dump(model)).learned == 300


@pytest.mark.parametrize(
    "other",
    [
        replace(PIPELINE, tier="light"),
        replace(PIPELINE, features=(Numeric("a"),)),
        replace(PIPELINE, classes=("0", "1")),
        replace(PIPELINE, task="regression", classes=()),
    ],
)
def test_another_shape_is_refused(model, other):
    with pytest.raises(ArtifactError, match="not those of the pipeline"):
        snapshot.load(other, snapshot.dump(model))


@pytest.mark.parametrize("content", [None, (1, 2), (1, (), 5, "no committee"), {"committee": 1}])
def test_what_is_no_snapshot_is_refused(content):
    with pytest.raises(ArtifactError, match="not a snapshot"):
        snapshot.load(PIPELINE, pickles.dumps(content))


def test_another_format_is_refused(model):
    with pytest.raises(ArtifactError, match="format 99"):
        snapshot.load(PIPELINE, pickles.dumps((99, model.members, 300, model)))
