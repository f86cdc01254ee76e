"""One incident, while it is open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

import msgspec

from online.policy.course import Course
from online.policy.health import is_served
from online.policy.merging import Signal, SignalKey
from online.policy.thresholds import DISTANCES
from penstock.events import Cause, Drift, DriftKind, Evidence, Finding, Level

Status: TypeAlias = Literal["opened", "escalated", "closed"]

#: Causes that an event names: the ones with the greatest effect.
MOST_CAUSES = 10


class Incident(msgspec.Struct):
    """An open incident.

    ``opened_at`` is its stage's count of records over all partitions when it opened, ``opened_ms`` the event time then
    and ``settled_ms`` a window later, until when a change of its kind is the same drift. ``quiet`` holds its signals,
    each with the number of looks since it last held the incident open, ``courses`` how each went; ``causes`` what each
    signal was at its greatest, those that left too.
    """

    id: str
    kind: DriftKind
    stage: str
    level: Level
    generation: int
    opened_at: int
    opened_ms: int
    settled_ms: int
    since: int | None
    reference: str
    head: Finding
    quiet: dict[SignalKey, int] = {}
    courses: dict[SignalKey, Course] = {}
    causes: dict[SignalKey, Cause] = {}
    performance_drop: float | None = None

    def claims(self, key: SignalKey) -> bool:
        """Whether a signal of the same kind and subject is in the incident, whichever detector looked."""
        return any((key.kind, key.subject) == (held.kind, held.subject) for held in self.quiet)

    def greatest(self, key: SignalKey) -> float:
        """The greatest effect so far on the subject of ``key``, whichever detector looked."""
        return max((cause.effect for held, cause in self.causes.items() if held[::2] == key[::2]), default=0.0)

    def join(self, key: SignalKey, effect: float) -> None:
        """Take a signal in."""
        self.quiet[key] = 0
        self.courses.setdefault(key, Course(effect))

    def leave(self, keys: Collection[SignalKey]) -> None:
        """Let signals go; what they were at their greatest stays."""
        for key in keys:
            self.quiet.pop(key, None)
            self.courses.pop(key, None)

    def measure(self, signals: Mapping[SignalKey, Signal]) -> None:
        """Keep what each signal is at its greatest, and the greatest drop of the served performance."""
        for key, signal in signals.items():
            if key not in self.causes or signal.effect > self.causes[key].effect:
                self.causes[key] = _cause(signal)
            if is_served(signal):
                self.performance_drop = max(self.performance_drop or 0.0, signal.effect)

    @property
    def features(self) -> dict[str, float]:
        """The greatest effect of each feature, the greatest first."""
        features: dict[str, float] = {}
        for cause in self._ranked():
            if cause.feature is not None:
                features.setdefault(cause.feature, cause.effect)
        return features

    @property
    def distance(self) -> float:
        """The greatest distance between two distributions that it ever had."""
        return max((cause.effect for key, cause in self.causes.items() if key.kind in DISTANCES), default=0.0)

    def event(
        self, status: Status, evidence: Evidence, seen: int, drift_score: float, health: float, advice: str
    ) -> Drift:
        """What goes out at ``evidence``. A closing event has no histograms."""
        closed = status == "closed"
        causes = self._ranked()[:MOST_CAUSES]
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
            features=self.features,
            histogram=None if closed else self.head.histogram,
            advice=advice,
            health=health,
            reference=self.reference,
            causes=[msgspec.structs.replace(cause, histogram=None) for cause in causes] if closed else causes,
        )

    def _ranked(self) -> list[Cause]:
        ranked = sorted(self.causes.items(), key=lambda item: (-item[1].effect, item[0]))
        return [cause for _, cause in ranked]


def head_of(signals: Collection[Signal]) -> Finding:
    """The finding that stands for an incident: the one with the greatest merged effect."""
    strongest = max(signals, key=lambda signal: signal.effect)
    return msgspec.structs.replace(strongest.finding, effect=min(1.0, strongest.effect), p_value=strongest.p_value)


def _cause(signal: Signal) -> Cause:
    finding = signal.finding
    return Cause(
        detector=finding.detector,
        effect=signal.effect,
        p_value=signal.p_value,
        feature=finding.feature,
        version=finding.version,
        reference_mean=finding.reference_mean,
        current_mean=finding.current_mean,
        measures=finding.measures,
        histogram=finding.histogram,
    )
