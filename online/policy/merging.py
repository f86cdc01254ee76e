"""Evidence of all partitions of a stage, merged signal by signal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from penstock.events import DriftKind, Evidence, Finding

#: A partition's evidence counts for this many times the pause between its last two looks.
PAUSES = 3


class SignalKey(NamedTuple):
    """What is watched: ``subject`` is a feature or a version ("" for the pipeline as a whole)."""

    kind: DriftKind
    detector: str
    subject: str


class Signal(NamedTuple):
    """One signal over all partitions.

    ``effect`` and ``psi`` are means weighted by the partitions' current windows, ``least_p_value`` the least p-value
    and ``p_value`` that times the number of partitions (Bonferroni). ``finding`` is the strongest partition's.
    ``fired``: a detector that decides by itself fired at the newest evidence; then all is as that finding says.
    """

    finding: Finding
    effect: float
    p_value: float
    least_p_value: float
    psi: float
    fired: bool

    @property
    def kind(self) -> DriftKind:
        """What drifts."""
        return self.finding.kind


def key_of(finding: Finding) -> SignalKey:
    """The signal that a finding is about."""
    return SignalKey(finding.kind, finding.detector, finding.feature or finding.version or "")


def merged(group: Sequence[Finding], partitions: int) -> Signal:
    """The findings of one signal, one per partition that has any, as one."""
    strongest = min(group, key=lambda finding: (finding.p_value, -finding.effect))
    least = strongest.p_value
    effect = _mean((finding.effect, finding.n_current) for finding in group)
    psi = _mean((finding.measures.get("psi", 0.0), finding.n_current) for finding in group)
    return Signal(strongest, effect, min(1.0, least * partitions), least, psi, fired=False)


def alone(finding: Finding) -> Signal:
    """One finding as a signal, as if there were no other partition."""
    p_value, psi = finding.p_value, finding.measures.get("psi", 0.0)
    return Signal(finding, finding.effect, p_value, p_value, psi, finding.fired)


def _mean(pairs: Iterable[tuple[float, int]]) -> float:
    total, weight = 0.0, 0
    for value, n in pairs:
        total, weight = total + value * n, weight + n
    return total / max(1, weight)


def is_look(evidence: Evidence) -> bool:
    """Whether evidence is a look at all signals; else it is an alarm between two looks: everything in it fired."""
    return not evidence.findings or not all(finding.fired for finding in evidence.findings)


class Held(msgspec.Struct, array_like=True):
    """A partition's newest evidence, at which look of its stage it came, and how many looks after the one before."""

    evidence: Evidence
    at: int
    pause: int


class NewestEvidence:
    """The newest evidence of each partition of each stage, about the newest generation of its stage.

    A partition that falls silent must not keep an incident open: its evidence counts until its stage has looked
    three times as often as it did between this partition's last two looks (and at least ``patience`` times).
    """

    def __init__(self, held: Iterable[Held] = (), generations: dict[str, int] | None = None) -> None:
        self._held = {(one.evidence.stage, one.evidence.partition): one for one in held}
        self._generations = generations or {}

    def generation(self, stage: str) -> int:
        """The newest generation that a partition of ``stage`` spoke of."""
        return self._generations.get(stage, 0)

    def take(self, evidence: Evidence) -> None:
        """Hold ``evidence`` instead of its partition's last; what is about an older generation is forgotten.

        An alarm between two looks is held beside the last look.
        """
        stage, key = evidence.stage, (evidence.stage, evidence.partition)
        if evidence.generation > self.generation(stage):
            self._held = {other: one for other, one in self._held.items() if other[0] != stage}
        self._generations[stage] = evidence.generation
        now, last = self._looks(stage), self._held.get(key)
        if last is not None and not is_look(evidence):
            fired = {key_of(finding) for finding in evidence.findings}
            others = [finding for finding in last.evidence.findings if key_of(finding) not in fired]
            findings = [*evidence.findings, *others]
            self._held[key] = Held(msgspec.structs.replace(evidence, findings=findings), last.at, last.pause)
            return
        self._held[key] = Held(evidence, now + 1, 0 if last is None else now + 1 - last.at)

    def _looks(self, stage: str) -> int:
        return max((one.at for (name, _), one in self._held.items() if name == stage), default=0)

    def seen(self, stage: str) -> int:
        """Records that the partitions of ``stage`` counted."""
        return sum(one.evidence.seen for (name, _), one in self._held.items() if name == stage)

    def partitions(self, stage: str) -> int:
        """How many partitions of ``stage`` have spoken about the newest generation."""
        return sum(name == stage for name, _ in self._held)

    def signals(self, stage: str, patience: int, now: Evidence | None = None) -> dict[SignalKey, Signal]:
        """Every signal of ``stage``; what fired counts only in ``now``, the evidence that was taken last."""
        groups: dict[SignalKey, list[Finding]] = {}
        looks = self._looks(stage)
        for key in sorted(self._held):
            one = self._held[key]
            if key[0] == stage and looks - one.at <= max(patience, PAUSES * one.pause):
                for finding in one.evidence.findings:
                    groups.setdefault(key_of(finding), []).append(finding)
        partitions = self.partitions(stage)
        signals = {key: merged(group, partitions) for key, group in groups.items()}
        for finding in reversed(now.findings if now is not None else []):
            if finding.fired:
                signals[key_of(finding)] = alone(finding)
        return signals

    def state(self) -> tuple[list[Held], dict[str, int]]:
        """What is held, for the constructor."""
        return list(self._held.values()), self._generations
