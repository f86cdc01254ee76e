"""Streams of River's generators whose concept changes and comes back, at once or gradually."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from river.datasets import synth

from benchmarks.drift.scoring import Change
from benchmarks.drift.streams import Stream, jitter, light_pipeline
from penstock.events import Features, Outcome
from penstock.spec import Boolean, Categorical, Feature, Numeric

#: Rows that a gradual change takes.
GRADUAL = 1000
CONCEPT_ROWS, CONCEPT_STARTS = 12_000, (4000, 8000)
#: Rows that a model has learned that learns no more.
TAUGHT = 2000


class _Generator(NamedTuple):
    """One of River's: its features, and the sources of a concept and of the one that replaces it, for a seed."""

    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    concepts: Callable[[int], tuple[Any, Any]]


def _numbers(*names: str) -> tuple[Feature, ...]:
    return tuple(Numeric(name) for name in names)


#: Labelling functions, taken in turn by seed. SEA's are those that differ on more than a tenth of the rows.
_SEA = ((2, 3), (2, 1), (0, 3))
_AGRAWAL = ((0, 3), (8, 0), (6, 0))
_STAGGER = ((0, 1), (1, 2), (2, 0))
_SINE = ((0, 2), (1, 3), (0, 1))


def _turn(pairs: Sequence[tuple[int, int]], seed: int, make: Callable[[int, int], Any]) -> tuple[Any, Any]:
    one, other = pairs[seed % len(pairs)]
    return make(one, seed), make(other, seed + 1000)


GENERATORS: dict[str, _Generator] = {
    "SEA": _Generator(
        _numbers("0", "1", "2"),
        ("False", "True"),
        lambda seed: _turn(_SEA, seed, lambda variant, s: synth.SEA(variant, noise=0.05, seed=s)),
    ),
    "Agrawal": _Generator(
        _numbers("salary", "commission", "age", "elevel", "car", "zipcode", "hvalue", "hyears", "loan"),
        ("0", "1"),
        lambda seed: _turn(_AGRAWAL, seed, lambda function, s: synth.Agrawal(function, seed=s, perturbation=0.05)),
    ),
    "STAGGER": _Generator(
        (Categorical("size"), Categorical("color"), Categorical("shape")),
        ("0", "1"),
        lambda seed: _turn(_STAGGER, seed, lambda function, s: synth.STAGGER(function, seed=s)),
    ),
    "LED": _Generator(
        tuple(Boolean(str(segment)) for segment in range(24)),
        tuple("0123456789"),
        lambda seed: (
            synth.LEDDrift(seed, noise_percentage=0.1, irrelevant_features=True),
            synth.LEDDrift(seed + 1000, noise_percentage=0.1, irrelevant_features=True, n_drift_features=5),
        ),
    ),
    "Hyperplane": _Generator(
        _numbers(*map(str, range(10))),
        ("0", "1"),
        lambda seed: (synth.Hyperplane(seed, noise_percentage=0.05), synth.Hyperplane(seed + 1000)),
    ),
    "Sine": _Generator(
        _numbers("0", "1"),
        ("0", "1"),
        lambda seed: _turn(_SINE, seed, lambda function, s: synth.Sine(function, seed=s)),
    ),
}


def concept_stream(generator: str, width: int, seed: int) -> Stream:
    """``generator`` with another concept between the two changes; over ``width`` rows each row is drawn from either."""
    source = GENERATORS[generator]
    one, other = (iter(concept) for concept in source.concepts(seed))
    changes = tuple(Change(start + jitter(seed), width) for start in CONCEPT_STARTS)
    draws = np.random.default_rng(seed).random(CONCEPT_ROWS).tolist()
    rows = [
        _row(source.features, next(other if draw < _share(row, changes) else one)) for row, draw in enumerate(draws)
    ]
    pipeline = light_pipeline(generator.lower(), source.features, source.classes)
    name = f"{generator}, {'gradual' if width else 'abrupt'}"
    return Stream(name, "concept, online model", seed, pipeline, rows, changes)


def fixed(stream: Stream) -> Stream:
    """The first change of ``stream`` met by a model that learned the first rows and nothing since, as one promoted."""
    first, second = stream.drifts
    return stream._replace(
        family="concept, fixed model", rows=stream.rows[: second.row], drifts=(first,), taught=TAUGHT
    )


def _share(row: int, changes: tuple[Change, ...]) -> float:
    """How likely a row is of the other concept, which comes with the first change and goes with the second."""
    come, gone = (min(1.0, max(0.0, (row - change.row + 1) / (change.width + 1))) for change in changes)
    return come - gone


def _row(features: Sequence[Feature], drawn: tuple[dict[Any, Any], Any]) -> tuple[Features, Outcome]:
    values = {str(name): value for name, value in drawn[0].items()}
    return {feature.name: _typed(feature, values[feature.name]) for feature in features}, str(drawn[1])


def _typed(feature: Feature, value: Any) -> float | str | bool:
    if isinstance(feature, Numeric):
        return float(value)
    return bool(value) if isinstance(feature, Boolean) else str(value)
