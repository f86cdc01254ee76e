"""Concept drift: a rise of the error of what was served, and of the online model."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import numpy as np

from online.detectors.errors import SCALE_LOSSES, Losses, unit_of
from online.detectors.history import BLOCK, NEWEST, ErrorHistory, Sample, rise_p_value
from online.detectors.likelihood_ratio import LEAST_BEFORE, REMEMBERED, LikelihoodRatio
from online.detectors.river_detectors import RiverDetector
from penstock.events import Example, Finding, Score
from penstock.spec import DriftPolicy, Pipeline

#: Labelled examples before the first alarm: a model that knows nothing yet has no error worth defending.
WARM_UP = 500
#: The greatest p-value of a suspected change that is believed.
BELIEVED = 1e-4
#: One that is not believed is looked at once more after so many errors.
AGAIN = 100
_Blocks: TypeAlias = deque[tuple[list[float], int]]
#: The name of the project's own detector.
LIKELIHOOD_RATIO = "likelihood_ratio"


class _Watch:
    """One detector on one stream of losses, and the level from before its last alarm.

    With ``scaled``, losses are divided by a unit, which each change sets anew, so that a rise is always seen relative
    to what is usual.
    """

    def __init__(self, detector: str, version: str, policy: DriftPolicy, scaled: bool, least_before: int) -> None:
        own = detector == LIKELIHOOD_RATIO
        self._name = detector
        self._version = version
        self._decides = detector in policy.deciding
        self._window = policy.window
        self._history = ErrorHistory(REMEMBERED if own else NEWEST)
        self._detector = (
            LikelihoodRatio(self._history, least_before) if own else RiverDetector(detector, policy.adwin_delta)
        )
        self._recent: _Blocks | None = deque(maxlen=NEWEST // BLOCK) if scaled else None
        self._unit: float | None = None
        self._before: Sample | None = None
        self._since: int | None = None
        self._waits = 0
        self._age = 0

    def update(self, losses: list[float], time: int, may_fire: bool) -> Finding | None:
        """Take a block of losses, the first at ``time``; a finding when the mean has risen and the detector decides."""
        self._age += BLOCK
        if self._age > 2 * self._window:
            self._before = self._since = None
        if self._recent is not None:
            self._recent.append((losses, time))
            if self._unit is None:
                if len(self._recent) == SCALE_LOSSES // BLOCK:
                    self._rescale(self._recent, SCALE_LOSSES)
                return None
            losses = _errors(losses, self._unit)
        self._history.append(losses, time)
        suspected = self._detector.update(losses)
        if self._waits:
            self._waits -= BLOCK
            return None if self._waits else self._change(may_fire, waited=True)
        return self._change(may_fire, waited=False) if suspected else None

    def _change(self, may_fire: bool, waited: bool) -> Finding | None:
        history, least = self._history, self._detector.least_after
        split = history.split(least if waited else BLOCK)
        if split is None:
            return None
        before, after = history.sample(0, split), history.sample(split)
        rose = after.mean > before.mean
        if rose and after.n < least:
            self._waits = least - after.n
            return None
        p_value = rise_p_value(before, after) if rose else rise_p_value(after, before)
        if p_value > BELIEVED and not self._detector.believed:
            self._waits = 0 if waited else AGAIN
            return None
        since = history.time_of(split)
        history.forget_before(split)
        self._detector.restart()
        shrunk = self._rescale(self._recent, after.n) if self._recent is not None else 1.0
        self._before = self._since = None
        if not rose or not may_fire:
            return None
        self._before = Sample(before.n, before.mean * shrunk, before.variance * shrunk**2)
        self._since, self._age = since, 0
        return self._finding(before, after, fired=True) if self._decides else None

    def _rescale(self, recent: _Blocks, size: int) -> float:
        """Take the unit from the newest losses, and begin the history with ``size`` of them; the old unit over it."""
        losses = np.array([losses for losses, _ in recent]).ravel()
        old, unit = self._unit, unit_of(losses[-max(SCALE_LOSSES // 5, size) :])
        self._unit = unit
        self._history.clear()
        for block, time in list(recent)[-(size // BLOCK) :]:
            self._history.append(_errors(block, unit), time)
        return (unit if old is None else old) / unit

    def look(self) -> Finding | None:
        """The error now against its level from before the last alarm, while that counts; no change else."""
        now = self._history.newest(self._window)
        if now.n == 0:
            return None
        return self._finding(now if self._before is None else self._before, now, fired=False)

    def _finding(self, before: Sample, after: Sample, fired: bool) -> Finding:
        rise = after.mean - before.mean
        return Finding(
            detector=self._name,
            kind="concept",
            version=self._version,
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


def _errors(losses: list[float], unit: float) -> list[float]:
    return [min(1.0, loss / unit) for loss in losses]


class ErrorSignal:
    """The losses of one version in blocks of 10, and the detectors that watch them."""

    def __init__(self, version: str, policy: DriftPolicy, scaled: bool, least_before: int = LEAST_BEFORE) -> None:
        self._watches = [_Watch(name, version, policy, scaled, least_before) for name in policy.error_detectors]
        self._losses: list[float] = []
        self._time = 0

    def update(self, loss: float, time: int, may_fire: bool) -> list[Finding]:
        """Take one loss; what fired at the end of its block."""
        losses = self._losses
        if not losses:
            self._time = time
        losses.append(loss)
        if len(losses) < BLOCK:
            return []
        self._losses = []
        found = [watch.update(losses, self._time, may_fire) for watch in self._watches]
        return [finding for finding in found if finding is not None]

    def look(self) -> list[Finding]:
        """Where each watch stands."""
        return [finding for watch in self._watches if (finding := watch.look()) is not None]


class ErrorDetectors:
    """Two error signals of one partition: ``champion`` (what was served), ``online`` (the committee, before learning).

    The detectors of ``drift.error_detectors`` watch both in blocks of 10; those of ``drift.deciding`` fire. A detector
    suspects a change; the split of the newest 2,000 errors whose two means are furthest apart dates it; ``p_value`` is
    Welch's test of the two parts (not corrected for the choice of the split). What the likelihood ratio suspects
    counts. What one of River's detectors suspects counts if that p-value is at most 0.0001, then or 100 errors later,
    and a rise after which fewer than 50 errors came waits for 50: else it was a burst.

    The error is 0 or 1 for classes and, for a regression, the absolute error over its 0.9 quantile, at most 1. Only
    a rise is a finding: ``statistic`` is the rise of the mean, ``since_event_time_ms`` the prediction time of the first
    example after it, to 10 examples. A rise in the first 500 examples is none: an untaught model has no level to lose.
    For 2 × ``drift.window`` examples after an alarm, `look` compares the newest window with the level from before it,
    so an incident stays open until the error is back, or has become the new normal.

    Pickles as a whole (Python, River and NumPy members only).
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._losses = Losses(pipeline)
        self._policy = pipeline.drift
        self._scaled = pipeline.task == "regression"
        self._seen = 0
        self._generation = 0
        self._champion = self._signal("champion")
        self._online = self._signal("online")

    def _signal(self, version: str) -> ErrorSignal:
        return ErrorSignal(version, self._policy, self._scaled)

    def update(self, example: Example, online_score: Score) -> list[Finding]:
        """Take one example (revision 0) and the committee's score of it before learning; what fired now."""
        self._seen += 1
        prediction, may_fire = example.prediction, self._seen > WARM_UP
        time = prediction.event_time_ms
        found: list[Finding] = []
        if prediction.role == "champion" and prediction.generation == self._generation:
            found = self._champion.update(self._losses.served(example), time, may_fire)
        return found + self._online.update(self._losses.of(online_score, example.value), time, may_fire)

    def look(self) -> list[Finding]:
        """Where all signals stand, nothing fired."""
        return [*self._champion.look(), *self._online.look()]

    def reset(self, generation: int) -> None:
        """A champion of a higher generation serves: forget the errors of the one before."""
        self._generation = generation
        self._champion = self._signal("champion")
