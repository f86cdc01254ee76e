"""Probe rows: a fixed set of inputs on which two models that should be one are compared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta

from penstock.events import Features, FeatureValue, Score
from penstock.spec import Boolean, Categorical, Date, Feature, Numeric, Pipeline

SEED = 20_240_229
ROWS = 256
#: Share of values that are missing.
MISSING = 0.05
#: What a category without declared values is tried with.
_ANY = ("a", "b", "c", "d")


def probe_rows(pipeline: Pipeline, rows: int = ROWS, seed: int = SEED) -> list[Features]:
    """Rows of the pipeline's features, within the declared ranges and values and a little beyond; some values missing.

    The same pipeline, number and seed always give the same rows.
    """
    rng = random.Random(seed)
    return [{feature.name: _value(feature, rng) for feature in pipeline.features} for _ in range(rows)]


def largest_difference(one: Sequence[Score], other: Sequence[Score]) -> float:
    """The greatest absolute difference of two lists of scores, row by row (and class by class); 0.0: none at all.

    Raises:
        ValueError: they differ in length, or in their classes.
    """
    greatest = 0.0
    for mine, theirs in zip(one, other, strict=True):
        if isinstance(mine, dict) or isinstance(theirs, dict):
            if not (isinstance(mine, dict) and isinstance(theirs, dict)) or mine.keys() != theirs.keys():
                raise ValueError("the scores are of different classes")
            greatest = max(greatest, *(abs(mine[name] - theirs[name]) for name in mine))
        else:
            greatest = max(greatest, abs(mine - theirs))
    return greatest


def _value(feature: Feature, rng: random.Random) -> FeatureValue:
    if rng.random() < MISSING:
        return None
    if isinstance(feature, Numeric):
        return _number(feature, rng)
    if isinstance(feature, Categorical):
        return rng.choice([*(feature.values or _ANY), "never seen"])
    if isinstance(feature, Boolean):
        return rng.random() < 0.5
    assert isinstance(feature, Date)  # noqa: S101 - the union has no other member
    return (date(2000, 1, 1) + timedelta(days=rng.randrange(10_000))).strftime(feature.format)


def _number(feature: Numeric, rng: random.Random) -> float:
    """Mostly within the range, a tenth of it beyond on either side; without one, of any magnitude up to a million."""
    if feature.low is None or feature.high is None:
        around = next((bound for bound in (feature.low, feature.high) if bound is not None), 0.0)
        magnitude: float = 10.0 ** rng.uniform(-1.0, 6.0)
        return around + rng.gauss(0.0, magnitude)
    width = feature.high - feature.low
    return rng.uniform(feature.low - 0.1 * width, feature.high + 0.1 * width)
