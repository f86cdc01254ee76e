"""The alarm policy: from merged evidence to incidents.

An alarm needs significance *and* an effect above a floor. One drift is one incident, with a start and an end.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec

from online.detectors.significance import monitored_count, signal_count, significance_level
from penstock.events import Drift, Evidence, Finding, Level
from penstock.spec import Pipeline

#: The least rise of the error (a share, or in a regression's units of its 0.9 quantile) that is worth an alarm.
ERROR_FLOOR = 0.02

ADVICE = {
    "concept": "The error rose: retrain on examples since the change and compare before promoting.",
    "covariate": "Inputs moved: check the listed features at their source; retrain if the error follows.",
    "schema": "Inputs broke: check the sender of the listed features (missing, out of range or unknown values).",
}

#: What is watched: detector, colon, feature or version.
SignalKey: TypeAlias = str


class _Signal(NamedTuple):
    """One signal over all partitions: its strongest finding, with the merged p-value and effect."""

    finding: Finding
    effect: float
    p_value: float
    significant: bool
    fired: bool


class _Open(msgspec.Struct):
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


class _State(msgspec.Struct, array_like=True):
    newest: list[Evidence]
    generations: dict[str, int]
    open: list[_Open]


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
        self._monitored = max(1, monitored_count(pipeline))
        self._level = significance_level(pipeline.drift, signal_count(pipeline))
        self._newest: dict[tuple[str, int], Evidence] = {}
        self._generations: dict[str, int] = {}
        self._open: list[_Open] = []

    def update(self, evidence: Evidence, offset: int) -> list[Drift]:
        """Take the evidence record at ``offset``; what it opens, escalates and closes, in this order of happening."""
        stage = evidence.stage
        generation = self._generations.get(stage, 0)
        if evidence.generation < generation:
            return []
        events: list[Drift] = []
        if evidence.generation > generation:
            events += self._close_all(stage, evidence)
            self._newest = {key: held for key, held in self._newest.items() if key[0] != stage}
        self._generations[stage] = evidence.generation
        self._newest[stage, evidence.partition] = evidence
        signals = self._merge(stage, evidence)
        events += self._open_new(evidence, offset, signals)
        events += self._follow(evidence, signals)
        return events

    def _seen(self, stage: str) -> int:
        return sum(held.seen for (name, _), held in self._newest.items() if name == stage)

    def _partitions(self, stage: str) -> int:
        return sum(name == stage for name, _ in self._newest)

    def _merge(self, stage: str, evidence: Evidence) -> dict[SignalKey, _Signal]:
        groups: dict[SignalKey, list[tuple[bool, Finding]]] = {}
        for name, partition in sorted(self._newest):
            if name == stage:
                for finding in self._newest[name, partition].findings:
                    groups.setdefault(_key(finding), []).append((partition == evidence.partition, finding))
        return {key: self._judge(group, self._partitions(stage)) for key, group in groups.items()}

    def _judge(self, group: list[tuple[bool, Finding]], partitions: int) -> _Signal:
        findings = [finding for _, finding in group]
        fired = [finding for now, finding in group if now and finding.fired and finding.effect >= ERROR_FLOOR]
        least = min(findings, key=lambda finding: (finding.p_value, -finding.effect))
        p_value = min(1.0, least.p_value * partitions)
        weight = sum(finding.n_current for finding in findings)
        effect = sum(finding.effect * finding.n_current for finding in findings) / max(1, weight)
        if fired:
            return _Signal(fired[0], fired[0].effect, fired[0].p_value, True, True)
        floor = ERROR_FLOOR if least.kind == "concept" else self._policy.effect_floor
        return _Signal(least, effect, p_value, least.p_value <= self._level and effect >= floor, False)

    def _open_new(self, evidence: Evidence, offset: int, signals: dict[SignalKey, _Signal]) -> list[Drift]:
        events: list[Drift] = []
        by_kind: dict[str, list[SignalKey]] = {}
        for key, signal in signals.items():
            opens = signal.fired if signal.finding.kind == "concept" else signal.significant
            if opens and self._unclaimed(key, signal, evidence.stage):
                by_kind.setdefault(signal.finding.kind, []).append(key)
        for kind, keys in by_kind.items():
            young = [held for held in self._open if held.kind == kind and self._is_young(held)]
            if young:
                young[-1].quiet.update(dict.fromkeys(keys, 0))
                continue
            for held in [held for held in self._open if held.kind == kind and not held.quiet.keys().isdisjoint(keys)]:
                events.append(self._close(held, evidence))
            events.append(self._open_one(kind, keys, evidence, offset, signals))
        return events

    def _open_one(
        self, kind: str, keys: list[SignalKey], evidence: Evidence, offset: int, signals: dict[SignalKey, _Signal]
    ) -> Drift:
        dates = [date for key in keys if (date := signals[key].finding.since_event_time_ms) is not None]
        held = _Open(
            id=f"{self._name}-{kind}-{offset}",
            kind=kind,
            stage=evidence.stage,
            level="warning",
            generation=evidence.generation,
            opened_at=self._seen(evidence.stage),
            features={},
            quiet=dict.fromkeys(keys, 0),
            since=min(dates, default=None),
            head=_head([signals[key] for key in keys]),
        )
        self._measure(held, signals)
        held.level = self._level_of(held, signals)
        self._open.append(held)
        return self._event(held, "opened", evidence)

    def _event(self, held: _Open, status: Literal["opened", "escalated", "closed"], evidence: Evidence) -> Drift:
        features = sorted(held.features.items(), key=lambda item: (-item[1], item[0]))
        return Drift(
            id=held.id,
            status=status,
            kind=held.kind,
            level=held.level,
            detector=held.head.detector,
            statistic=held.head.statistic,
            effect=held.head.effect,
            p_value=held.head.p_value,
            record_id=evidence.record_id,
            event_time_ms=evidence.event_time_ms,
            generation=held.generation,
            seen=self._seen(held.stage),
            drift_score=self.drift_score(),
            feature=held.head.feature,
            performance_drop=held.performance_drop,
            since_event_time_ms=held.since,
            features=dict(features),
            histogram=None if status == "closed" else held.head.histogram,
            advice="" if status == "closed" else ADVICE.get(held.kind, ""),
        )

    def _unclaimed(self, key: SignalKey, signal: _Signal, stage: str) -> bool:
        """Whether the signal is news: in no open incident, or a point detector that fired again."""
        return signal.fired or not any(key in held.quiet for held in self._open if held.stage == stage)

    def _is_young(self, held: _Open) -> bool:
        return self._seen(held.stage) - held.opened_at <= self._policy.window

    def _follow(self, evidence: Evidence, signals: dict[SignalKey, _Signal]) -> list[Drift]:
        events: list[Drift] = []
        for held in [held for held in self._open if held.stage == evidence.stage]:
            self._measure(held, signals)
            level = self._level_of(held, signals)
            if level == "critical" and held.level == "warning":
                held.level = level
                held.head = _head([signals[key] for key in held.quiet if key in signals])
                events.append(self._event(held, "escalated", evidence))
            patience = self._policy.quiet_looks * self._partitions(held.stage)
            quiet = {
                key: 0 if key in signals and signals[key].significant else looks + 1
                for key, looks in held.quiet.items()
            }
            held.quiet = {key: looks for key, looks in quiet.items() if looks < patience}
            if not held.quiet:
                events.append(self._close(held, evidence))
        return events

    def _measure(self, held: _Open, signals: dict[SignalKey, _Signal]) -> None:
        """Keep the greatest effect of each feature, and the greatest rise of the served error, while it is open."""
        for key in held.quiet:
            signal = signals.get(key)
            if signal is None or not signal.significant:
                continue
            finding = signal.finding
            if finding.feature is not None:
                held.features[finding.feature] = max(held.features.get(finding.feature, 0.0), signal.effect)
            if finding.kind == "concept" and finding.version == "champion":
                held.performance_drop = max(held.performance_drop or 0.0, signal.effect)

    def _level_of(self, held: _Open, signals: dict[SignalKey, _Signal]) -> Level:
        moved = {signals[key].finding.feature for key in held.quiet if key in signals and signals[key].significant} - {
            None
        }
        critical = (
            (held.performance_drop or 0.0) > self._policy.critical_performance_drop
            or len(moved) > self._policy.critical_feature_share * self._monitored
            or max(held.features.values(), default=0.0) > self._policy.critical_drift_score
        )
        return "critical" if critical or held.level == "critical" else "warning"

    def drift_score(self) -> float:
        """The greatest merged effect of a feature's distribution (KS statistic, total variation) now, in [0, 1]."""
        sums: dict[SignalKey, tuple[float, int]] = {}
        for held in self._newest.values():
            for finding in held.findings:
                if finding.kind == "covariate":
                    effect, n = sums.get(_key(finding), (0.0, 0))
                    sums[_key(finding)] = (effect + finding.effect * finding.n_current, n + finding.n_current)
        return max((effect / max(1, n) for effect, n in sums.values()), default=0.0)

    def _close_all(self, stage: str, evidence: Evidence) -> list[Drift]:
        return [self._close(held, evidence) for held in self._open if held.stage == stage]

    def _close(self, held: _Open, evidence: Evidence) -> Drift:
        self._open = [other for other in self._open if other.id != held.id]
        return self._event(held, "closed", evidence)

    def state(self) -> bytes:
        """The newest evidence, generations and open incidents, as MessagePack."""
        newest = [self._newest[key] for key in self._newest]
        return msgspec.msgpack.encode(_State(newest, self._generations, self._open))

    def restore(self, state: bytes) -> None:
        """Replace the state by what `state` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._newest = {(evidence.stage, evidence.partition): evidence for evidence in held.newest}
        self._generations, self._open = held.generations, held.open


def _head(signals: list[_Signal]) -> Finding:
    """The finding that stands for an incident: of the significant signals the one with the greatest merged effect."""
    strongest = max(signals, key=lambda signal: (signal.significant, signal.effect))
    return msgspec.structs.replace(strongest.finding, effect=strongest.effect, p_value=strongest.p_value)


def _key(finding: Finding) -> SignalKey:
    return f"{finding.detector}:{finding.feature or finding.version or ''}"
