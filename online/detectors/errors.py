"""The error of one answer, and the unit of a regression's errors."""

from __future__ import annotations

import sys

import numpy as np

from online.detectors.windows import FloatArray
from penstock.events import Example, Outcome, Score
from penstock.spec import Pipeline

#: A regression: losses that its unit is first taken from, their quantile that becomes 1, and the least unit.
SCALE_LOSSES, SCALE_QUANTILE, LEAST_UNIT = 300, 0.9, 1e-12


class Losses:
    """The loss of an answer: 0 or 1 for classes, the absolute error for a regression."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._classes = pipeline.classes
        self._threshold = pipeline.threshold
        self._regression = pipeline.task == "regression"

    def served(self, example: Example) -> float:
        """Of what was served."""
        if self._regression:
            return _distance(example.prediction.served, example.value)
        return float(example.prediction.decision != example.value)

    def of(self, score: Score, value: Outcome) -> float:
        """Of a score, decided as the pipeline decides."""
        if isinstance(score, dict):
            return float(max(score, key=lambda name: (score[name], name)) != value)
        if self._regression:
            return _distance(score, value)
        return float(self._classes[int(score >= self._threshold)] != value)


def _distance(answer: Score, value: Outcome) -> float:
    if isinstance(answer, dict):
        raise TypeError("a regression's score is a number")
    return min(abs(answer - float(value)), sys.float_info.max)


def unit_of(losses: FloatArray) -> float:
    """What counts as an error of 1: the losses' 0.9 quantile; where that is 0, the greatest, or at least 1e-12."""
    quantile = float(np.quantile(losses, SCALE_QUANTILE, method="lower"))
    return max(quantile if quantile > 0.0 else float(losses.max()), LEAST_UNIT)
