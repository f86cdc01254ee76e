"""What counts: when a signal is significant, how grave an incident is, and how far the inputs have drifted."""

from __future__ import annotations

from collections.abc import Collection

from online.detectors.significance import monitored_count, signal_count, significance_level
from online.policy.merging import Signal
from penstock.events import Level
from penstock.spec import Pipeline

#: The least rise of the error (a share, or in a regression's units of its 0.9 quantile) that is worth an alarm.
ERROR_FLOOR = 0.02


class Thresholds:
    """The drift policy's thresholds, for one pipeline. They are no state and may change at any time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._policy = pipeline.drift
        self._monitored = max(1, monitored_count(pipeline))
        self._level = significance_level(pipeline.drift, signal_count(pipeline))

    def significant(self, signal: Signal) -> bool:
        """Whether a signal differs now: the least p-value is within the level, and the effect reaches its floor."""
        if self.fires(signal):
            return True
        floor = ERROR_FLOOR if signal.finding.kind == "concept" else self._policy.effect_floor
        return signal.finding.p_value <= self._level and signal.effect >= floor

    def fires(self, signal: Signal) -> bool:
        """Whether a detector that decides by itself has just found a rise that is worth an alarm."""
        return signal.fired and signal.effect >= ERROR_FLOOR

    def opens(self, signal: Signal) -> bool:
        """Whether a signal that belongs to no incident opens one."""
        return self.fires(signal) if signal.finding.kind == "concept" else self.significant(signal)

    def level(self, performance_drop: float | None, moved: Collection[str], effect: float) -> Level:
        """Critical: a great drop of performance, many ``moved`` features, or a great effect; else warning."""
        critical = (
            (performance_drop or 0.0) > self._policy.critical_performance_drop
            or len(moved) > self._policy.critical_feature_share * self._monitored
            or effect > self._policy.critical_drift_score
        )
        return "critical" if critical else "warning"
