"""Quality over a run as curves over a sliding window: of what was served, the online model and the last known label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from online.scoring import decide
from penstock.cli.evaluation import History, Scored, last_known_labels
from penstock.events import Outcome, Score
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline

#: Labelled rows that one point of a curve looks back on, and how many points a curve has at most.
WINDOW = 500
POINTS = 400


class Curve(NamedTuple):
    """``points``: (data row, value); a window with nothing to average has none."""

    name: str
    points: list[tuple[int, float]]


def quality_curves(pipeline: Pipeline, history: History, window: int = WINDOW) -> list[Curve]:
    """Rolling accuracy (regression: mean absolute error) over the last ``window`` labelled rows, by data row.

    A row counts for the online model where that was served or scored in shadow, and for the last known label where one
    was known when the request came.
    """
    guesses = last_known_labels(history)
    served = [_right(pipeline, item.example.prediction.served, item.example.value) for item in history.scored]
    online = [_of_online(pipeline, item) for item in history.scored]
    known = [
        None if guess is None else _difference(pipeline, guess, item.example.value)
        for guess, item in zip(guesses, history.scored, strict=True)
    ]
    rows = [item.row for item in history.scored]
    return [
        Curve("served", _rolling(rows, served, window)),
        Curve("online model", _rolling(rows, online, window)),
        Curve("last known label", _rolling(rows, known, window)),
    ]


def _of_online(pipeline: Pipeline, item: Scored) -> float | None:
    prediction = item.example.prediction
    score = prediction.served if prediction.version == ONLINE else prediction.shadow.get(ONLINE)
    return None if score is None else _right(pipeline, score, item.example.value)


def _right(pipeline: Pipeline, score: Score, outcome: Outcome) -> float:
    return _difference(pipeline, decide(pipeline, score), outcome)


def _difference(pipeline: Pipeline, said: Outcome, outcome: Outcome) -> float:
    if pipeline.task == "regression":
        return abs(float(said) - float(outcome))
    return float(said == outcome)


def _rolling(rows: Sequence[int], values: Sequence[float | None], window: int) -> list[tuple[int, float]]:
    """Means over the last ``window`` entries that are not None, at up to `POINTS` rows, once a tenth of it is there."""
    if not rows:
        return []
    there: npt.NDArray[np.float64] = np.array([value is not None for value in values], dtype=np.float64)
    sums = np.concatenate([[0.0], np.cumsum([0.0 if value is None else value for value in values])])
    counts = np.concatenate([[0.0], np.cumsum(there)])
    ends = np.unique(np.linspace(1, len(rows), min(POINTS, len(rows))).round().astype(int))
    points = []
    for end in ends.tolist():
        start = max(0, end - window)
        count = counts[end] - counts[start]
        if count >= max(1, min(window, len(rows)) / 10):
            points.append((rows[end - 1], float((sums[end] - sums[start]) / count)))
    return points
