"""The fold of evidence into incidents."""

from __future__ import annotations

from typing import Literal

import msgspec

from online.policy.incident import Incident, head_of
from online.policy.levels import Thresholds
from online.policy.merging import NewestEvidence, Signal, SignalKey
from penstock.events import Drift, Evidence
from penstock.spec import Pipeline


class _State(msgspec.Struct, array_like=True):
    newest: list[Evidence]
    generations: dict[str, int]
    open: list[Incident]


class IncidentPolicy:
    """The fold of ``evidence`` into incidents.

    *Merging.* The newest evidence of each partition of a stage counts. A signal's merged effect is the mean over
    partitions weighted by their current windows, its p-value the least one times the number of partitions. It is
    significant if the least p-value, uncorrected, is within `significance_level` (whose bound is over all looks of all
    partitions together) and the merged effect reaches ``effect_floor``. ADWIN decides by itself: fired, and a rise
    of the error of at least 0.02.

    *One drift, one incident.* Signals of one kind that become significant within ``drift.window`` records of the
    incident's opening join it; later ones open another. Within that time a detector that fires again is the same drift;
    after it, the old incident is closed and a new one opened.

    *Levels.* Critical: the served error rose by more than ``critical_performance_drop``, or more than
    ``critical_feature_share`` of the monitored features moved, or an effect is above ``critical_drift_score``; else
    warning. A rise of the level is an ``escalated`` event.

    *End.* A signal leaves its incident after ``quiet_looks`` looks per partition in a row without significance; what it
    does later is another drift. The incident closes when its last signal has left, or at the first evidence of the same
    stage about a higher generation. Evidence about an older generation than its stage's newest is ignored.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._name = pipeline.name
        self._policy = pipeline.drift
        self._thresholds = Thresholds(pipeline)
        self._newest = NewestEvidence()
        self._open: list[Incident] = []

    def update(self, evidence: Evidence, offset: int) -> list[Drift]:
        """Take the evidence record at ``offset``; what it opens, escalates and closes, in this order of happening."""
        stage, generation = evidence.stage, self._newest.generation(evidence.stage)
        if evidence.generation < generation:
            return []
        events: list[Drift] = []
        if evidence.generation > generation:
            events += [self._close(held, evidence) for held in self._of(stage)]
        self._newest.take(evidence)
        signals = self._newest.signals(stage, evidence)
        events += self._open_new(evidence, offset, signals)
        events += [event for held in self._of(stage) for event in self._follow(held, evidence, signals)]
        return events

    def _of(self, stage: str) -> list[Incident]:
        return [held for held in self._open if held.stage == stage]

    def _open_new(self, evidence: Evidence, offset: int, signals: dict[SignalKey, Signal]) -> list[Drift]:
        events: list[Drift] = []
        by_kind: dict[str, list[SignalKey]] = {}
        for key, signal in signals.items():
            if self._thresholds.opens(signal) and self._unclaimed(key, signal, evidence.stage):
                by_kind.setdefault(signal.finding.kind, []).append(key)
        for kind, keys in by_kind.items():
            same_kind = [held for held in self._open if held.kind == kind]
            young = [held for held in same_kind if self._is_young(held)]
            if young:
                young[-1].quiet.update(dict.fromkeys(keys, 0))
                continue
            events += [self._close(held, evidence) for held in same_kind if not held.quiet.keys().isdisjoint(keys)]
            events.append(self._open_one(kind, keys, evidence, offset, signals))
        return events

    def _open_one(
        self, kind: str, keys: list[SignalKey], evidence: Evidence, offset: int, signals: dict[SignalKey, Signal]
    ) -> Drift:
        members = [signals[key] for key in keys]
        dates = [date for member in members if (date := member.finding.since_event_time_ms) is not None]
        held = Incident(
            id=f"{self._name}-{kind}-{offset}",
            kind=kind,
            stage=evidence.stage,
            level="warning",
            generation=evidence.generation,
            opened_at=self._newest.seen(evidence.stage),
            features={},
            quiet=dict.fromkeys(keys, 0),
            since=min(dates, default=None),
            head=head_of(members),
        )
        held.measure(members)
        held.level = self._level_of(held, members)
        self._open.append(held)
        return self._event(held, "opened", evidence)

    def _unclaimed(self, key: SignalKey, signal: Signal, stage: str) -> bool:
        """Whether the signal is news: in no open incident, or a point detector that fired again."""
        return self._thresholds.fires(signal) or not any(key in held.quiet for held in self._of(stage))

    def _is_young(self, held: Incident) -> bool:
        return self._newest.seen(held.stage) - held.opened_at <= self._policy.window

    def _follow(self, held: Incident, evidence: Evidence, signals: dict[SignalKey, Signal]) -> list[Drift]:
        moving = {
            key: signals[key] for key in held.quiet if key in signals and self._thresholds.significant(signals[key])
        }
        events: list[Drift] = []
        held.measure(list(moving.values()))
        if held.level == "warning" and self._level_of(held, list(moving.values())) == "critical":
            held.level = "critical"
            held.head = head_of(list(moving.values())) if moving else held.head
            events.append(self._event(held, "escalated", evidence))
        patience = self._policy.quiet_looks * self._newest.partitions(held.stage)
        quiet = {key: 0 if key in moving else looks + 1 for key, looks in held.quiet.items()}
        held.quiet = {key: looks for key, looks in quiet.items() if looks < patience}
        if not held.quiet:
            events.append(self._close(held, evidence))
        return events

    def _level_of(self, held: Incident, moving: list[Signal]) -> Literal["warning", "critical"]:
        moved = {signal.finding.feature for signal in moving if signal.finding.feature is not None}
        return self._thresholds.level(held.performance_drop, moved, max(held.features.values(), default=0.0))

    def _close(self, held: Incident, evidence: Evidence) -> Drift:
        self._open = [other for other in self._open if other.id != held.id]
        return self._event(held, "closed", evidence)

    def _event(self, held: Incident, status: Literal["opened", "escalated", "closed"], evidence: Evidence) -> Drift:
        return held.event(status, evidence, self._newest.seen(held.stage), self.drift_score())

    def drift_score(self) -> float:
        """The greatest merged effect of a feature's distribution (KS statistic, total variation) now, in [0, 1]."""
        return max(self._newest.effects("covariate").values(), default=0.0)

    def state(self) -> bytes:
        """The newest evidence, generations and open incidents, as MessagePack."""
        newest, generations = self._newest.state()
        return msgspec.msgpack.encode(_State(newest, generations, self._open))

    def restore(self, state: bytes) -> None:
        """Replace the state by what `state` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._newest.restore(held.newest, held.generations)
        self._open = held.open
