"""One incident, while it is open."""

from __future__ import annotations

from typing import Literal

import msgspec

from online.policy.advice import ADVICE
from online.policy.merging import Signal, SignalKey
from penstock.events import Drift, Evidence, Finding, Level


class Incident(msgspec.Struct):
    """An open incident. ``opened_at`` is its stage's count of records over all partitions when it opened.

    ``quiet`` holds its signals, each with the number of looks since it was last significant.
    """

    id: str
    kind: str
    stage: str
    level: Level
    generation: int
    opened_at: int
    features: dict[str, float]
    quiet: dict[SignalKey, int]
    since: int | None
    head: Finding
    performance_drop: float | None = None

    def measure(self, signals: list[Signal]) -> None:
        """Keep the greatest effect of each feature, and the greatest rise of the served error, while it is open."""
        for signal in signals:
            finding = signal.finding
            if finding.feature is not None:
                self.features[finding.feature] = max(self.features.get(finding.feature, 0.0), signal.effect)
            if finding.kind == "concept" and finding.version == "champion":
                self.performance_drop = max(self.performance_drop or 0.0, signal.effect)

    def event(
        self, status: Literal["opened", "escalated", "closed"], evidence: Evidence, seen: int, drift_score: float
    ) -> Drift:
        """What goes out at ``evidence``."""
        features = sorted(self.features.items(), key=lambda item: (-item[1], item[0]))
        return Drift(
            id=self.id,
            status=status,
            kind=self.kind,
            level=self.level,
            detector=self.head.detector,
            statistic=self.head.statistic,
            effect=self.head.effect,
            p_value=self.head.p_value,
            record_id=evidence.record_id,
            event_time_ms=evidence.event_time_ms,
            generation=self.generation,
            seen=seen,
            drift_score=drift_score,
            feature=self.head.feature,
            performance_drop=self.performance_drop,
            since_event_time_ms=self.since,
            features=dict(features),
            histogram=None if status == "closed" else self.head.histogram,
            advice="" if status == "closed" else ADVICE.get(self.kind, ""),
        )


def head_of(signals: list[Signal]) -> Finding:
    """The finding that stands for an incident: the one with the greatest merged effect."""
    strongest = max(signals, key=lambda signal: signal.effect)
    return msgspec.structs.replace(strongest.finding, effect=strongest.effect, p_value=strongest.p_value)
