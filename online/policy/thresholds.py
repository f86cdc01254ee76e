"""When a signal is an alarm, when it still holds its incident open, and how grave an incident is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args

import msgspec

from online.detectors.significance import LOCATION, LOCATION_SHARE, monitored_count
from online.policy.budget import kind_level
from online.policy.health import is_of_reference_model
from online.policy.merging import Signal
from penstock.events import DriftKind, DriftThresholds, Level, PolicyChange
from penstock.spec import DriftPolicy, Pipeline

#: Hysteresis: an open incident's signal still counts up to this p-value, and from this share of its floor.
HOLDING_P_VALUE, HOLDING_SHARE = 1e-3, 0.75
#: Kinds whose effect is a distance between two distributions, which ``critical_drift_score`` is about.
DISTANCES: frozenset[DriftKind] = frozenset({"covariate", "schema", "prior", "prediction", "population"})


def changed(set_so_far: DriftThresholds, change: PolicyChange) -> DriftThresholds:
    """The thresholds that people have set, after ``change``."""
    held = {} if change.reset else _set(set_so_far)
    return DriftThresholds(**{**held, **_set(change.thresholds)})


def effective(policy: DriftPolicy, thresholds: DriftThresholds) -> DriftPolicy:
    """The declared policy with what people have set."""
    return replace(policy, **_set(thresholds))


def _set(thresholds: DriftThresholds) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(thresholds).items() if value is not None}


class Thresholds:
    """The thresholds of a pipeline's drift policy. They are no state of any detector and may change at any time."""

    def __init__(self, pipeline: Pipeline) -> None:
        policy = pipeline.drift
        self._policy = policy
        self._monitored = max(1, monitored_count(pipeline))
        self._levels: dict[DriftKind, float] = {kind: kind_level(pipeline, kind) for kind in get_args(DriftKind)}
        self._floors: dict[DriftKind, float] = {
            "concept": policy.error_floor,
            "covariate": policy.effect_floor,
            "schema": policy.effect_floor,
            "prior": policy.prior_floor,
            "prediction": policy.prediction_floor,
            "uncertainty": policy.uncertainty_floor,
            "population": policy.population_floor,
            "performance": policy.performance_floor,
            "fairness": policy.fairness_floor,
        }

    def floor(self, kind: DriftKind) -> float:
        """The least effect of a signal of ``kind`` that is worth an alarm."""
        return self._floors[kind]

    def _floor_of(self, signal: Signal) -> float:
        return self._floors[signal.kind] * (LOCATION_SHARE if signal.finding.detector == LOCATION else 1.0)

    def opens(self, signal: Signal) -> bool:
        """Whether a signal that belongs to no incident opens one.

        It is significant and its effect reaches the floor of its kind (a feature: or its PSI ``psi_warning``); or a
        detector that decides by itself fired, with an effect above the floor. Concept drift opens only so.
        """
        if signal.fired:
            return signal.effect > 0.0 and signal.effect >= self._floor_of(signal)
        return signal.kind != "concept" and self.significant(signal)

    def significant(self, signal: Signal) -> bool:
        """Whether a look by itself says that the signal moved."""
        return self._within(signal, self._levels[signal.kind], 1.0)

    def holds(self, signal: Signal) -> bool:
        """Whether a signal still keeps its incident open: less than opens one, so that none flaps at a threshold."""
        return self.opens(signal) or self._within(
            signal, max(HOLDING_P_VALUE, self._levels[signal.kind]), HOLDING_SHARE
        )

    def _within(self, signal: Signal, level: float, share: float) -> bool:
        far = signal.effect >= share * self._floor_of(signal) or (
            signal.kind == "covariate" and signal.psi >= share * self._policy.psi_warning
        )
        return far and signal.effect > 0.0 and signal.least_p_value <= level and signal.least_p_value < 1.0

    def moved(self, signals: Iterable[Signal]) -> set[str]:
        """The features that moved: their effect reaches ``effect_floor``, or their PSI ``psi_critical``."""
        policy = self._policy
        return {
            signal.finding.feature
            for signal in signals
            if signal.finding.feature is not None
            and signal.kind in {"covariate", "schema"}
            and (signal.effect >= policy.effect_floor or signal.psi >= policy.psi_critical)
        }

    def drifted_share(self, signals: Iterable[Signal]) -> float:
        """Share of the watched features that moved and would hold an incident open."""
        return min(1.0, len(self.moved(filter(self.holds, signals))) / self._monitored)

    def level(self, performance_drop: float | None, greatest: float, moved: Iterable[Signal]) -> Level:
        """Critical or warning, by the drop of the served performance, the greatest distance, and what ``moved``.

        What a model that stood still would have lost counts as the drop of the served performance does: the served
        model may have learned the change, which leaves nothing to measure, or meet it where it is next asked.
        """
        policy, moved = self._policy, list(moved)
        lost = max((signal.effect for signal in moved if is_of_reference_model(signal)), default=0.0)
        critical = (
            max(performance_drop or 0.0, lost) > policy.critical_performance_drop
            or len(self.moved(moved)) > policy.critical_feature_share * self._monitored
            or greatest > policy.critical_drift_score
        )
        return "critical" if critical else "warning"
