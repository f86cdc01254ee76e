"""A pipeline of ten features, findings, and a feed of evidence, look by look."""

from __future__ import annotations

from typing import Any

from online.policy.fold import IncidentPolicy
from penstock.events import Drift, DriftKind, DriftThresholds, Evidence, Finding, PolicyChange
from penstock.spec import DriftPolicy, Numeric, Pipeline

PIPELINE = Pipeline(
    name="loans",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=tuple(Numeric(f"x{i}") for i in range(10)),
    drift=DriftPolicy(quiet_looks=3),
)


def ks(feature: str, effect: float, p_value: float = 1e-9, **more: Any) -> Finding:
    return finding(
        "covariate", effect, p_value, **{"detector": "ks", "feature": feature, "since_event_time_ms": 7, **more}
    )


def adwin(version: str, rise: float, fired: bool = True, p_value: float = 1e-9) -> Finding:
    return Finding(
        detector="adwin",
        kind="concept",
        version=version,
        statistic=rise,
        effect=rise,
        p_value=p_value,
        n_reference=1000,
        n_current=100,
        fired=fired,
    )


def finding(kind: DriftKind, effect: float, p_value: float = 1e-9, **more: Any) -> Finding:
    fields = {"detector": f"{kind}_test", "n_reference": 1000, "n_current": 1000, **more}
    return Finding(kind=kind, statistic=effect, effect=effect, p_value=p_value, **fields)


class Feed:
    """Feeds evidence to a policy, look by look."""

    def __init__(self, policy: IncidentPolicy | None = None) -> None:
        self.policy = policy or IncidentPolicy(PIPELINE)
        self.offset = 0
        self.seen: dict[tuple[str, int], int] = {}

    def __call__(
        self, *findings: Finding, stage: Any = "monitor", partition: int = 0, generation: int = 0, looks: int = 1
    ) -> list[Drift]:
        events: list[Drift] = []
        for _ in range(looks):
            self.seen[stage, partition] = self.seen.get((stage, partition), 0) + 100
            evidence = Evidence(
                stage=stage,
                partition=partition,
                seen=self.seen[stage, partition],
                record_id=f"r{self.offset}",
                event_time_ms=self.offset,
                generation=generation,
                findings=list(findings),
            )
            events += self.policy.update(evidence, self.offset)
            self.offset += 1
        return events

    def change(self, reset: bool = False, **thresholds: Any) -> list[Drift]:
        change = PolicyChange(by="ada", thresholds=DriftThresholds(**thresholds), reset=reset)
        evidence = Evidence(
            stage="policy",
            partition=0,
            seen=0,
            record_id=f"policy-{self.offset}",
            event_time_ms=self.offset,
            generation=0,
            findings=[],
            change=change,
        )
        self.offset += 1
        return self.policy.update(evidence, self.offset - 1)


def summary(events: list[Drift]) -> list[tuple[str, str, str]]:
    return [(event.status, event.kind, event.level) for event in events]
