"""Streams whose drift is not in the concept: errors that become more frequent, features that move."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtri

from benchmarks.drift.scoring import Change
from benchmarks.drift.streams import Stream, jitter, light_pipeline
from penstock.events import Features, Outcome
from penstock.spec import Categorical, Feature, Numeric

ERROR_ROWS, ERROR_START = 10_000, 5000
COVARIATE_ROWS, COVARIATE_START = 6000, 4000


def error_stream(rate: float, seed: int) -> Stream:
    """A model that errs on every fifth row and from the middle on with probability ``rate``; labels are a fair coin."""
    rng, start = np.random.default_rng(seed), ERROR_START + jitter(seed)
    truth = rng.random(ERROR_ROWS) < 0.5
    wrong = rng.random(ERROR_ROWS) < np.where(np.arange(ERROR_ROWS) < start, 0.2, rate)
    numbers = rng.normal(size=ERROR_ROWS).tolist()
    rows: list[tuple[Features, Outcome]] = [
        ({"x": number}, str(int(label))) for number, label in zip(numbers, truth, strict=True)
    ]
    answers = np.where(truth ^ wrong, 0.8, 0.2).tolist()
    pipeline = light_pipeline("errors", (Numeric("x"),))
    return Stream(f"error .20 to {rate:.2f}", "error rate", seed, pipeline, rows, (Change(start),), answers)


Table: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
#: What happens to the ten features from the change on, with a source of random numbers at hand.
Move: TypeAlias = Callable[[Table, np.random.Generator], None]


def _add(shift: float) -> Move:
    def move(later: Table, _: np.random.Generator) -> None:
        later[:, 0] += shift

    return move


def _widen(later: Table, _: np.random.Generator) -> None:
    later[:, 0] *= 1.5


def _couple(later: Table, _: np.random.Generator) -> None:
    """Two features get a correlation of 0.8; each alone stays as it was."""
    later[:, 0] = 0.8 * later[:, 1] + 0.6 * later[:, 0]


def _lose(later: Table, rng: np.random.Generator) -> None:
    later[rng.random(len(later)) < 0.15, 0] = np.nan


def _favour(later: Table, rng: np.random.Generator) -> None:
    """The category becomes the first of its eight in every fourth row."""
    later[rng.random(len(later)) < 0.25, 8] = -np.inf


def _strange(later: Table, rng: np.random.Generator) -> None:
    """A category that the spec does not know, in every seventh row."""
    later[rng.random(len(later)) < 0.15, 9] = np.inf


MOVES: dict[str, Move] = {
    "mean +0.25 sd": _add(0.25),
    "mean +0.5 sd": _add(0.5),
    "mean +1 sd": _add(1.0),
    "spread x 1.5": _widen,
    "correlation 0 to 0.8": _couple,
    "15 % missing": _lose,
    "category share": _favour,
    "15 % unknown category": _strange,
}
_NAMES = tuple("abcdefgh")
_BOUNDS = ndtri(np.arange(1, 8) / 8)


def covariate_stream(move: str, seed: int) -> Stream:
    """Eight Gaussian features and two categories of eight equal shares; one of them moves, the label does not care."""
    rng, start = np.random.default_rng((seed, *move.encode())), COVARIATE_START + jitter(seed)
    table = rng.normal(size=(COVARIATE_ROWS, 10))
    positive = rng.random(COVARIATE_ROWS) < 1 / (1 + np.exp(-table[:, 2:6].sum(axis=1)))
    MOVES[move](table[start:], rng)
    features: tuple[Feature, ...] = (
        *(Numeric(f"x{i}") for i in range(8)),
        Categorical("c8"),
        Categorical("c9", values=_NAMES),
    )
    rows: list[tuple[Features, Outcome]] = [
        ({feature.name: _cell(feature, value) for feature, value in zip(features, values, strict=True)}, str(int(y)))
        for values, y in zip(table.tolist(), positive, strict=True)
    ]
    return Stream(move, "covariate", seed, light_pipeline("moved", features), rows, (Change(start),))


def _cell(feature: Feature, value: float) -> float | str | None:
    if isinstance(feature, Numeric):
        return None if math.isnan(value) else value
    return "unknown" if value == math.inf else _NAMES[int(np.searchsorted(_BOUNDS, value))]
