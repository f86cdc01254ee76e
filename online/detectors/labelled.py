"""What the detectors of labelled examples share: the port, two windows, and how many p-values they have."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from online.detectors.significance import significance_level
from online.detectors.windows import MIN_VALUES, AlarmAges, FloatArray, IntArray
from penstock.events import Example, Finding, Score
from penstock.spec import DriftPolicy, Pipeline

#: p-values of one look: of the labels (the whole window and its newest quarter), and of the served performance.
PRIOR_P_VALUES, PERFORMANCE_P_VALUES = 2, 1


def learner_signal_count(pipeline: Pipeline) -> int:
    """How many p-values of the kinds prior and performance one look has at most, whatever ``pipeline`` predicts."""
    del pipeline  # today every task has as many
    return PRIOR_P_VALUES + PERFORMANCE_P_VALUES


def lasting_level(pipeline: Pipeline) -> float:
    """The p-value from which a detector counts a signal as changed for its own state: that of the default policy.

    So changed thresholds never change a detector's state.
    """
    return significance_level(DriftPolicy(look_every=pipeline.drift.look_every), learner_signal_count(pipeline))


class LabelledDetector(Protocol):
    """Watches labelled examples. Its state can be pickled, and depends on its inputs only."""

    def update(self, example: Example, online_score: Score) -> list[Finding]:
        """Count one champion example (revision 0), scored by the online model before it learned it; what fired now."""
        ...

    def look(self) -> list[Finding]:
        """The newest finding of each signal. Changes nothing."""
        ...

    def reset(self, generation: int) -> None:
        """A champion of a higher generation serves: what comes next is the reference."""
        ...


class LabelledWindows:
    """The first ``drift.reference`` values of a series as its reference, and the newest ``drift.window`` after them.

    Values are taken in at looks, one per ``drift.look_every`` values. Where a signal has differed for 2 × window
    values, its window becomes the reference: what lasts is the new normal.
    """

    def __init__(self, policy: DriftPolicy) -> None:
        self._look_every = policy.look_every
        self._size = policy.window
        self._reference_size = policy.reference
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._values: list[float] = []
        self._value_times: list[int] = []
        self._ages = AlarmAges(1, self._size)
        self.reference: FloatArray = np.empty(0)
        self.current: FloatArray = np.empty(0)
        self.times: IntArray = np.empty(0, dtype=np.int64)

    def append(self, value: float, time: int) -> bool:
        """Take a value and its event time (ms); whether a look is due and both windows hold enough to compare."""
        self._values.append(value)
        self._value_times.append(time)
        if len(self._values) < self._look_every:
            return False
        values, times = np.array(self._values), np.array(self._value_times, dtype=np.int64)
        self._values, self._value_times = [], []
        take = max(0, self._reference_size - len(self.reference))
        self.reference = np.concatenate((self.reference, values[:take]))
        self.current = np.concatenate((self.current, values[take:]))[-self._size :]
        self.times = np.concatenate((self.times, times[take:]))[-self._size :]
        full = len(self.reference) >= self._reference_size
        return full and min(len(self.reference), len(self.current)) >= MIN_VALUES

    def age(self, significant: bool) -> None:
        """Count one look; the window becomes the reference where the signal has differed for too long."""
        if len(self._ages.update(np.array([significant]), self._look_every)):
            self.adopt()

    def adopt(self) -> None:
        """The window becomes the reference."""
        self.reference = self.current.copy()
