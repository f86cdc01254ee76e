"""Performance decay: a rolling metric of what was served against its reference."""

from __future__ import annotations

import sys

import numpy as np

from online.detectors.errors import Losses, unit_of
from online.detectors.history import Sample, batch_dispersion, rise_p_value
from online.detectors.labelled import LabelledWindows, lasting_level
from online.detectors.windows import FloatArray
from penstock.events import Example, Finding, Score
from penstock.spec import DriftPolicy, Pipeline

#: A regression's errors count at most this many times the reference's 0.9 quantile, so no single one decides.
GREATEST = 10.0


class PerformanceDecay:
    """Whether the champion serves worse than at the start of its generation, by the margin ``performance_floor``.

    The metric is accuracy, of a regression the mean absolute error, over the newest ``drift.window`` labelled examples;
    its reference the first ``drift.reference`` of the generation, or a later window in which it was significantly
    better. ``effect`` is the drop of the accuracy, or the relative rise of the MAE (at most 1), ``p_value`` Welch's
    one-sided test of the two samples of errors, their variances times the reference's `batch_dispersion` (errors come
    in clusters), ``reference_mean`` and ``current_mean`` the metric itself. A decay that has lasted 2 × window examples
    is the new normal. Pickles as a whole.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._losses = Losses(pipeline)
        self._regression = pipeline.task == "regression"
        self._windows = LabelledWindows(pipeline.drift)
        self._level, self._floor = lasting_level(pipeline), DriftPolicy().performance_floor
        self._generation = 0
        self._newest: Finding | None = None

    def update(self, example: Example, online_score: Score) -> list[Finding]:
        """Take the error of one answer that was served; nothing fires by itself."""
        del online_score
        prediction = example.prediction
        current = prediction.role == "champion" and prediction.generation == self._generation
        if current and self._windows.append(self._losses.served(example), prediction.event_time_ms):
            self._compare()
        return []

    def look(self) -> list[Finding]:
        """The comparison at the last look."""
        return [] if self._newest is None else [self._newest]

    def reset(self, generation: int) -> None:
        """The next examples, of ``generation``, are the reference."""
        self._generation = generation
        self._windows.clear()
        self._newest = None

    def _compare(self) -> None:
        windows = self._windows
        unit = min(GREATEST * unit_of(windows.reference), sys.float_info.max) if self._regression else 1.0
        reference, current = _sample(windows.reference, unit), _sample(windows.current, unit)
        dispersion = batch_dispersion(np.minimum(windows.reference, unit) / unit)
        before, after = (sample._replace(variance=sample.variance * dispersion) for sample in (reference, current))
        p_value, effect = rise_p_value(before, after), self._effect(reference, current)
        self._newest = Finding(
            detector="mae" if self._regression else "accuracy",
            kind="performance",
            version="champion",
            statistic=current.mean - reference.mean,
            effect=effect,
            p_value=p_value,
            n_reference=reference.n,
            n_current=current.n,
            reference_mean=self._metric(reference, unit),
            current_mean=self._metric(current, unit),
        )
        windows.age(p_value <= self._level and effect >= self._floor)
        if rise_p_value(after, before) <= self._level:
            windows.adopt()

    def _effect(self, reference: Sample, current: Sample) -> float:
        worse = max(0.0, current.mean - reference.mean)
        if not self._regression or worse == 0.0:
            return worse
        return min(1.0, worse / reference.mean) if reference.mean > 0.0 else 1.0

    def _metric(self, sample: Sample, unit: float) -> float:
        return sample.mean * unit if self._regression else 1.0 - sample.mean


def _sample(losses: FloatArray, unit: float) -> Sample:
    errors = np.minimum(losses, unit) / unit
    return Sample(len(errors), float(errors.mean()), float(errors.var()))
