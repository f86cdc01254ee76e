"""A serving process in miniature: a memory log, models that say which one they are, and a test client."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from penstock.clock import Clock, SystemClock
from penstock.events import Event, Features, ModelRecord, Score, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import open_log, topic_configs
from penstock.log.port import Log, Message, Record, TopicPartition
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.slot import ServedModels
from penstock.models.watch import Watch
from penstock.settings import Settings
from penstock.spec import Boolean, Categorical, Numeric, Pipeline
from penstock.telemetry import Telemetry
from serving.app import create_app
from serving.deps import ServingDeps

PIPELINE = Pipeline(
    name="loans",
    task="binary",
    target="paid",
    features=(Numeric("salary", 0, 200_000), Categorical("car", ("a", "b")), Boolean("owner")),
    classes=("no", "yes"),
)
FEATURES: dict[str, Any] = {"salary": 1000, "car": "a", "owner": True}


class Constant:
    """A model whose score says which one it is."""

    def __init__(self, score: Score) -> None:
        self.score = score

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        return [self.score for _ in rows]


def score_of(version: str) -> float:
    """The score of the constant model called ``version``."""
    return int(hashlib.sha256(version.encode()).hexdigest()[:6], 16) / 0xFFFFFF


@dataclass
class Stand:
    """What a test holds in its hands; with a ``directory``, on the embedded log."""

    pipeline: Pipeline = PIPELINE
    settings: Settings = field(default_factory=Settings)
    refused: list[str] = field(default_factory=list)
    stopping: bool = False
    clock: Clock = field(default_factory=SystemClock)
    directory: Path | None = None

    def __post_init__(self) -> None:
        self.log: Log = MemoryLog(self.clock)
        if self.directory is not None:
            self.log = open_log("embedded", self.directory, self.pipeline.name, self.clock)
        self.log.ensure_topics(topic_configs(self.pipeline.partitions))
        self.artifacts = MemoryArtifacts(Signer(b"0123456789abcdef"))
        self.telemetry = Telemetry()
        self.served = ServedModels(
            self.artifacts,
            lambda _kind, data: Constant(float(data)),
            Constant(0.5),
            lambda record, why: self.refused.append(f"{record.version}: {why}"),
        )
        watch = Watch(self.pipeline.rollout, "serving", self.clock.monotonic_s, self.telemetry)
        self.deps = ServingDeps(self.pipeline, self.log, self.served, self.telemetry, self.clock, self.settings, watch)

    def app(self) -> FastAPI:
        return create_app(self.deps, lambda: self.stopping)

    def append(self, topic: str, *events: Event) -> None:
        self.log.append([Message(topic, b"k", encode(event)) for event in events])

    def champion(self, version: str, generation: int, **about: Any) -> ModelRecord:
        """Announce a batch model in the champion's slot (or another ``slot``)."""
        ref = self.artifacts.put(repr(score_of(version)).encode())
        record = ModelRecord(
            version=version, kind="batch", generation=generation, **{"slot": "champion", **ref._asdict(), **about}
        )
        self.append("models", record)
        return record

    def records(self, topic: str) -> list[Record]:
        held = []
        for number in range(self.log.partitions(topic)):
            first, end = self.log.bounds(TopicPartition(topic, number))
            held += self.log.read(TopicPartition(topic, number), first, end, 100_000)
        return held
