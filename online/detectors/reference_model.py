"""Concept drift that the online model hides: a rise of the error of models that do not learn on."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from online.detectors.additive_model import AdditiveModel, least_squares, logistic
from online.detectors.categorical import category_code
from online.detectors.concept import ErrorSignal
from online.detectors.likelihood_ratio import LEAST_BEFORE_FIRST
from online.detectors.significance import REFERENCE_MODEL, category_features, numeric_features
from online.detectors.windows import FloatArray, SlidingColumns
from penstock.events import Example, Features, Finding, Outcome, Score
from penstock.spec import Pipeline

#: Examples that are taken in at once.
PORTION = 50
#: The newest examples that a model is fitted to, at most and at least, and how many come before the next fit.
TAUGHT, LEAST_TAUGHT, EVERY = 2000, 1000, 2000
#: A regression's targets are cut so many spreads from their median; this quantile of the distances from it is one.
TARGET_LIMIT, SPREAD_QUANTILE = 4.0, 0.68


class _Standing:
    """A model as it was fitted, and the watch on its errors since. What fires a second time is the same drift."""

    def __init__(self, model: AdditiveModel, signal: ErrorSignal) -> None:
        self.model = model
        self.signal = signal
        self.fired = False

    def watch(self, losses: list[float], times: list[int]) -> Finding | None:
        """Take the errors of a portion; the first finding that fires."""
        found: Finding | None = None
        for loss, time in zip(losses, times, strict=True):
            for finding in self.signal.update(loss, time, may_fire=True):
                found = found if self.fired else finding
                self.fired = True
        return found


class ReferenceModels:
    """Whether a model that stood still would err more now than it did.

    An online model follows a change within a few hundred examples, so its error moves for a moment only, and a small
    change is lost in it. The error of a model that learned until some moment and nothing since stays where the change
    puts it: a stable learner beside a reactive one (Bach & Maloof, "Paired Learners for Concept Drift", ICDM 2008).
    On a stationary stream it is stationary, however the online model still learns.

    Every 2,000 examples (first after 1,000) an `AdditiveModel` is fitted to the newest 2,000, and takes the place of
    the one before the last: so one of the two has seen at least 2,000 later examples. The detectors of
    ``drift.deciding`` watch its errors on what comes after the fit (`ErrorSignal`): 0 or 1 for classes, decided by the
    greatest output, a binary one at even odds; the absolute error over its 0.9 quantile for a regression. A change that
    only interactions of features make is not seen here.

    As many errors as before the first change must be there before any: a chance fall leaves a level to rise from.
    When one fires, the other is dropped, and the next is fitted to what came since the change. Examples are taken in
    50 at once. Pickles as a whole; holds 2,000 examples.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._numbers = [feature.name for feature in numeric_features(pipeline)]
        self._names = [feature.name for feature in category_features(pipeline)]
        self._regression = pipeline.task == "regression"
        self._outputs = len(pipeline.classes) if pipeline.task == "multiclass" else 1
        self._class_codes = {name: index for index, name in enumerate(pipeline.classes)}
        self._watched = replace(pipeline.drift, error_detectors=pipeline.drift.deciding)
        self._pending: list[Features] = []
        self._outcomes: list[float] = []
        self._times: list[int] = []
        self._values = SlidingColumns(len(self._numbers), TAUGHT, np.float64)
        self._codes = SlidingColumns(len(self._names), TAUGHT, np.int64)
        self._outcome_values = SlidingColumns(1, TAUGHT, np.float64)
        self._standing: list[_Standing] = []
        self._until_fit = LEAST_TAUGHT

    def update(self, example: Example, online_score: Score) -> list[Finding]:
        """Take one example; what fired at the end of its portion."""
        del online_score
        self._pending.append(example.prediction.features)
        self._outcomes.append(self._coded(example.value))
        self._times.append(example.prediction.event_time_ms)
        return self._take() if len(self._pending) == PORTION else []

    def look(self) -> list[Finding]:
        """Where the newest model that fired stands, else the oldest. Changes nothing."""
        fired = [standing for standing in self._standing if standing.fired]
        told = fired[-1:] or self._standing[:1]
        return [finding for standing in told for finding in standing.signal.look()]

    def reset(self, generation: int) -> None:
        """A champion of a higher generation serves: what fired before is told. The stream's examples stay."""
        del generation
        self._standing = [standing for standing in self._standing if not standing.fired]

    def _coded(self, value: Outcome) -> float:
        return float(value) if self._regression else float(self._class_codes[str(value)])

    def _take(self) -> list[Finding]:
        rows, times = self._pending, self._times
        numbers = np.array([[row[name] for row in rows] for name in self._numbers], dtype=np.float64)
        codes = np.array([[category_code(row[name]) for row in rows] for name in self._names], dtype=np.int64)
        numbers, codes = numbers.reshape(len(self._numbers), PORTION), codes.reshape(len(self._names), PORTION)
        outcomes = np.array(self._outcomes)
        self._pending, self._outcomes, self._times = [], [], []
        fired: list[tuple[Finding, _Standing]] = []
        for standing in self._standing:
            losses = self._losses(standing.model.predict(numbers, codes), outcomes)
            finding = standing.watch(losses.tolist(), times)
            if finding is not None:
                fired.append((finding, standing))
        for series, more in ((self._values, numbers), (self._codes, codes), (self._outcome_values, outcomes[None, :])):
            series.push(more)
        self._until_fit -= PORTION
        told: list[Finding] = []
        if fired:
            greatest, standing = max(fired, key=lambda one: one[0].statistic)
            told, self._standing = [greatest], [standing]
            self._forget_before_change(greatest.n_current)
        if self._until_fit <= 0:
            self._standing = [*self._standing, self._fitted()][-2:]
            self._until_fit = EVERY
        return told

    def _losses(self, outputs: FloatArray, outcomes: FloatArray) -> FloatArray:
        if self._regression:
            return np.minimum(np.abs(outputs[:, 0] - outcomes), sys.float_info.max)
        answers = outputs.argmax(axis=1) if self._outputs > 1 else outputs[:, 0] >= 0.0
        errors: FloatArray = (answers != outcomes).astype(np.float64)
        return errors

    def _forget_before_change(self, examples: int) -> None:
        for series in (self._values, self._codes, self._outcome_values):
            newest = series.view[:, -examples:].copy()
            series.clear()
            series.push(newest)
        self._until_fit = LEAST_TAUGHT - len(self._values)

    def _fitted(self) -> _Standing:
        outcomes: FloatArray = self._outcome_values.view[0]
        if self._regression:
            middle = np.median(outcomes)
            spread = max(float(np.quantile(np.abs(outcomes - middle), SPREAD_QUANTILE)), sys.float_info.min)
            targets = np.clip(outcomes, middle - TARGET_LIMIT * spread, middle + TARGET_LIMIT * spread)[:, None]
        elif self._outputs > 1:
            targets = (outcomes[:, None] == np.arange(self._outputs)).astype(np.float64)
        else:
            targets = outcomes[:, None]
        fit = least_squares if self._regression else logistic
        model = AdditiveModel(self._values.view, self._codes.view, targets, fit)
        return _Standing(model, ErrorSignal(REFERENCE_MODEL, self._watched, self._regression, LEAST_BEFORE_FIRST))
