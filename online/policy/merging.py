"""Evidence of all partitions of a stage, merged signal by signal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from penstock.events import Evidence, Finding

#: What is watched: detector, colon, feature or version.
SignalKey: TypeAlias = str


class Signal(NamedTuple):
    """One signal over all partitions: its strongest finding, with the merged effect and p-value.

    ``fired``: a detector that decides by itself fired at the newest evidence, and this is what it said.
    """

    finding: Finding
    effect: float
    p_value: float
    fired: bool


def key_of(finding: Finding) -> SignalKey:
    """The signal that a finding is about."""
    return f"{finding.detector}:{finding.feature or finding.version or ''}"


def mean_effect(group: Iterable[Finding]) -> float:
    """The mean effect over partitions, weighted by their current windows."""
    pairs = [(finding.effect, finding.n_current) for finding in group]
    return sum(effect * n for effect, n in pairs) / max(1, sum(n for _, n in pairs))


def merged(group: list[Finding], fired: Finding | None, partitions: int) -> Signal:
    """One signal's findings by partition as one: the mean effect, weighted by the current windows; the least p-value.

    ``p_value`` is the least one times the number of partitions (Bonferroni); the finding keeps the least itself.
    """
    if fired is not None:
        return Signal(fired, fired.effect, fired.p_value, fired=True)
    least = min(group, key=lambda finding: (finding.p_value, -finding.effect))
    return Signal(least, mean_effect(group), min(1.0, least.p_value * partitions), fired=False)


class NewestEvidence:
    """The newest evidence of each partition of each stage, about the newest generation of its stage."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], Evidence] = {}
        self._generations: dict[str, int] = {}

    def generation(self, stage: str) -> int:
        """The newest generation that a partition of ``stage`` spoke of."""
        return self._generations.get(stage, 0)

    def take(self, evidence: Evidence) -> None:
        """Hold ``evidence`` instead of its partition's last; what is about an older generation is forgotten."""
        if evidence.generation > self.generation(evidence.stage):
            self._held = {key: held for key, held in self._held.items() if key[0] != evidence.stage}
        self._generations[evidence.stage] = evidence.generation
        self._held[evidence.stage, evidence.partition] = evidence

    def seen(self, stage: str) -> int:
        """Records that the partitions of ``stage`` counted."""
        return sum(held.seen for (name, _), held in self._held.items() if name == stage)

    def partitions(self, stage: str) -> int:
        """How many partitions of ``stage`` have spoken about the newest generation."""
        return sum(name == stage for name, _ in self._held)

    def signals(self, stage: str, now: Evidence) -> dict[SignalKey, Signal]:
        """Every signal of ``stage``; what fired counts only in ``now``, the evidence that was taken last."""
        groups: dict[SignalKey, list[Finding]] = {}
        for name, partition in sorted(self._held):
            if name == stage:
                for finding in self._held[name, partition].findings:
                    groups.setdefault(key_of(finding), []).append(finding)
        fired: dict[SignalKey, Finding] = {}
        for finding in now.findings:
            if finding.fired:
                fired.setdefault(key_of(finding), finding)
        partitions = self.partitions(stage)
        return {key: merged(group, fired.get(key), partitions) for key, group in groups.items()}

    def effects(self, kind: str) -> dict[SignalKey, float]:
        """The merged effect of each signal of ``kind``, of all stages."""
        groups: dict[SignalKey, list[Finding]] = {}
        for held in self._held.values():
            for finding in held.findings:
                if finding.kind == kind:
                    groups.setdefault(key_of(finding), []).append(finding)
        return {key: mean_effect(group) for key, group in groups.items()}

    def state(self) -> tuple[list[Evidence], dict[str, int]]:
        """What is held."""
        return list(self._held.values()), self._generations

    def restore(self, held: Iterable[Evidence], generations: dict[str, int]) -> None:
        """Replace what is held by what ``state`` returned."""
        self._held = {(evidence.stage, evidence.partition): evidence for evidence in held}
        self._generations = generations
