"""Drift score, health, and what a signal says about the served performance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from online.detectors.significance import REFERENCE_MODEL
from online.policy.merging import Signal

Condition: TypeAlias = Literal["good", "warning", "critical"]

#: Weights of drift score, performance drop and error rate, and the drop and rate that count in full.
DRIFT_WEIGHT, PERFORMANCE_WEIGHT, ERROR_WEIGHT = 0.4, 0.4, 0.2
FULL_DROP = FULL_ERROR_RATE = 0.10
#: Health above the first is good, below the second critical.
GOOD, CRITICAL = 0.8, 0.6

#: What was served, whatever its version.
SERVED = "champion"


def is_served(signal: Signal) -> bool:
    """Whether the signal is about the performance of what was served."""
    return signal.kind in {"concept", "performance"} and signal.finding.version in {None, SERVED}


def is_of_reference_model(signal: Signal) -> bool:
    """Whether the signal is about the error of a model that learned nothing since."""
    return signal.kind == "concept" and signal.finding.version == REFERENCE_MODEL


def drift_score(signals: Iterable[Signal]) -> float:
    """How far the inputs are from their reference, in [0, 1].

    The larger of the greatest effect of a feature (KS statistic; total variation for categories) and
    2 × (AUC of the domain classifier - 0.5), which is the effect of a population finding. 0 without findings.
    """
    return min(
        1.0, max((signal.effect for signal in signals if signal.kind in {"covariate", "population"}), default=0.0)
    )


def health(score: float, performance_drop: float, error_rate: float = 0.0) -> float:
    """The health of a pipeline, in [0, 1] ::

        1 - 0.4 × drift score - 0.4 × min(1, performance drop / 10 %) - 0.2 × min(1, error rate / 10 %)

    ``error_rate``: the share of requests that failed or were dead-lettered; 0 where it is not known.
    """
    lost = (
        DRIFT_WEIGHT * _unit(score)
        + PERFORMANCE_WEIGHT * _unit(performance_drop / FULL_DROP)
        + ERROR_WEIGHT * _unit(error_rate / FULL_ERROR_RATE)
    )
    return _unit(1.0 - lost)


def condition(value: float) -> Condition:
    """Good (above 0.8), warning (0.6 to 0.8) or critical (below 0.6)."""
    if value > GOOD:
        return "good"
    return "critical" if value < CRITICAL else "warning"


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
