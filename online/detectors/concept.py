"""Concept drift: ADWIN on the error of what was served and on the error of the online model."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from river.drift import ADWIN
from scipy.special import ndtr

from online.detectors.windows import FloatArray
from penstock.events import Example, Finding, Outcome, Score
from penstock.spec import Pipeline

#: Labelled examples before the first alarm: a model that knows nothing yet has no error worth defending.
WARM_UP = 500
#: Losses and event times that are kept to date a change.
MEMORY = 2000
#: The least size of either part when a change is dated.
LEAST_PART = 5
#: A rise over fewer errors than this waits for more, and needs this p-value then.
LEAST_AFTER, BELIEVED = 50, 1e-4
#: A regression: losses that its unit is first taken from, their quantile that becomes 1, and the least unit.
SCALE_LOSSES, SCALE_QUANTILE, LEAST_UNIT = 300, 0.9, 1e-12


class _Sample(NamedTuple):
    """Size, mean and variance of a window of errors."""

    n: int
    mean: float
    variance: float


def rise_p_value(before: _Sample, after: _Sample) -> float:
    """One-sided p-value of a rise of the mean (Welch's z; 1 where nothing varies and nothing rose)."""
    spread = math.sqrt(before.variance / max(1, before.n) + after.variance / max(1, after.n))
    rise = after.mean - before.mean
    if spread == 0.0:
        return 0.0 if rise > 0.0 else 1.0
    return float(ndtr(-rise / spread))


class _ErrorSignal:
    """ADWIN on one stream of losses, and the level from before its last alarm.

    When ADWIN finds a change, the split of the newest 2,000 losses that separates the two means best dates it, and the
    window goes on with what is after it. With ``scaled``, losses are divided by a unit, which each change sets
    anew, so that a rise is always seen relative to what is usual.
    """

    def __init__(self, version: str, delta: float, lasting: int, scaled: bool) -> None:
        self.version = version
        self._delta = delta
        self._lasting = lasting
        self._scaled = scaled
        self._unit = None if scaled else 1.0
        self._adwin = _adwin(delta)
        self._losses: deque[float] = deque(maxlen=MEMORY)
        self._times: deque[int] = deque(maxlen=MEMORY)
        self._before: _Sample | None = None
        self._since: int | None = None
        self._waits = 0
        self._age = 0

    def update(self, loss: float, time: int, may_fire: bool) -> Finding | None:
        """Take the loss of one example; a finding when the mean has risen."""
        self._age += 1
        if self._age > self._lasting:
            self._before = self._since = None
        self._losses.append(loss)
        self._times.append(time)
        if self._unit is None:
            if len(self._losses) == SCALE_LOSSES:
                self._unit = _unit(np.array(self._losses))
            return None
        self._adwin.update(min(1.0, loss / self._unit))
        if self._waits:
            self._waits -= 1
            return None if self._waits else self._change(self._unit, may_fire, waited=True)
        return self._change(self._unit, may_fire, waited=False) if self._adwin.drift_detected else None

    def _change(self, unit: float, may_fire: bool, waited: bool) -> Finding | None:
        losses = np.array(self._losses)
        errors = np.minimum(1.0, losses / unit)
        start = _split(errors, LEAST_AFTER if waited else LEAST_PART)
        before, after = _sample(errors[:start]), _sample(errors[start:])
        since, rose = self._times[start], after.mean > before.mean
        if rose and not waited and after.n < LEAST_AFTER:
            self._waits = LEAST_AFTER - after.n
            return None
        if waited and (not rose or rise_p_value(before, after) > BELIEVED):
            return None
        if self._scaled:
            self._unit = _unit(losses[-max(SCALE_LOSSES // 5, len(losses) - start) :])
        self._restart(losses[start:], start)
        self._before = self._since = None
        if not rose or not may_fire:
            return None
        shrunk = unit / (self._unit or unit)
        self._before = _Sample(before.n, before.mean * shrunk, before.variance * shrunk**2)
        self._since, self._age = since, 0
        return self._finding(before, after, fired=True)

    def _restart(self, losses: FloatArray, start: int) -> None:
        self._losses = deque(losses.tolist(), maxlen=MEMORY)
        self._times = deque(list(self._times)[start:], maxlen=MEMORY)
        self._adwin = _adwin(self._delta)
        for loss in self._losses:
            self._adwin.update(min(1.0, loss / (self._unit or 1.0)))

    def look(self) -> Finding | None:
        """The error now against its level from before the last alarm, while that counts; no change else."""
        now = self._now()
        if now.n == 0:
            return None
        return self._finding(now if self._before is None else self._before, now, fired=False)

    def _now(self) -> _Sample:
        n = int(self._adwin.width)  # River's variance is the sum of the squared deviations
        return _Sample(n, float(self._adwin.estimation), float(self._adwin.variance) / max(1, n))

    def _finding(self, before: _Sample, after: _Sample, fired: bool) -> Finding:
        rise = after.mean - before.mean
        return Finding(
            detector="adwin",
            kind="concept",
            version=self.version,
            statistic=rise,
            effect=min(1.0, max(0.0, rise)),
            p_value=rise_p_value(before, after),
            n_reference=before.n,
            n_current=after.n,
            fired=fired,
            since_event_time_ms=self._since,
            reference_mean=before.mean,
            current_mean=after.mean,
        )


def _adwin(delta: float) -> Any:
    return ADWIN(delta=delta, clock=1)  # type: ignore[no-untyped-call]  # River's drift module is not annotated


def _sample(errors: FloatArray) -> _Sample:
    return _Sample(len(errors), float(errors.mean()), float(errors.var()))


def _split(errors: FloatArray, least: int) -> int:
    """Where the second part begins when the two means are as far apart as they can be, in standard errors."""
    n = len(errors)
    least = min(least, n // 2)
    sizes = np.arange(least, n - least + 1)
    sums = np.cumsum(errors)
    apart = sums[sizes - 1] / sizes - (sums[-1] - sums[sizes - 1]) / (n - sizes)
    return int(sizes[np.argmax(apart**2 * sizes * (n - sizes))])


def _unit(losses: FloatArray) -> float:
    quantile = float(np.quantile(losses, SCALE_QUANTILE))
    return max(quantile if quantile > 0.0 else float(losses.max()), LEAST_UNIT)


class ErrorDetectors:
    """Two error signals of one partition: ``champion`` (what was served), ``online`` (the committee, before learning).

    ADWIN (Bifet & Gavaldà, SDM 2007; River, delta = ``drift.adwin_delta``, clock 1) keeps a window of errors and drops
    its older part when the means of two parts differ by more than chance allows. The error is 0 or 1 for classes
    and, for a regression, the absolute error over its 0.9 quantile, at most 1. Only a rise is a finding: ``statistic``
    is the rise of the mean, ``p_value`` Welch's z-test of the parts before and after the likeliest moment of the change
    (not corrected for its choice: ADWIN has decided already), ``since_event_time_ms`` the prediction time of the
    first example after it. Where fewer than 50 errors came after it, the alarm waits for 50 and then needs a
    p-value of 0.0001: else it was a burst of errors. A rise in the first 500 examples is none: an untaught model has no
    level to lose. For 2 × ``drift.window`` examples after an alarm, `look` compares with the level from before it, so
    an incident stays open until the error is back, or has become the new normal.

    Pickles as a whole (Python, River and NumPy members only).
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._task = pipeline.task
        self._classes = pipeline.classes
        self._threshold = pipeline.threshold
        self._delta = pipeline.drift.adwin_delta
        self._lasting = 2 * pipeline.drift.window
        self._seen = 0
        self._generation = 0
        self._champion = self._signal("champion")
        self._online = self._signal("online")

    def _signal(self, version: str) -> _ErrorSignal:
        return _ErrorSignal(version, self._delta, self._lasting, self._task == "regression")

    def update(self, example: Example, online_score: Score) -> list[Finding]:
        """Take one example (revision 0) and the committee's score of it before learning; what fired now."""
        self._seen += 1
        prediction, may_fire = example.prediction, self._seen > WARM_UP
        time = prediction.event_time_ms
        findings = [self._online.update(self._loss(self._decision(online_score), example.value), time, may_fire)]
        if prediction.role == "champion" and prediction.generation == self._generation:
            served = prediction.served if self._task == "regression" else prediction.decision
            findings.insert(0, self._champion.update(self._loss(served, example.value), time, may_fire))
        return [finding for finding in findings if finding is not None]

    def look(self) -> list[Finding]:
        """Where both signals stand, nothing fired."""
        return [finding for signal in (self._champion, self._online) if (finding := signal.look()) is not None]

    def reset(self, generation: int) -> None:
        """A champion of a higher generation serves: forget the errors of the one before."""
        self._generation = generation
        self._champion = self._signal("champion")

    def _decision(self, score: Score) -> Outcome:
        if isinstance(score, dict):
            return max(score, key=lambda name: (score[name], name))
        if self._task == "regression":
            return score
        return self._classes[int(score >= self._threshold)]

    def _loss(self, answer: Score | Outcome, value: Outcome) -> float:
        if isinstance(answer, int | float) and isinstance(value, int | float):
            return abs(answer - value)
        return float(answer != value)
