"""Composition: which implementation of each port a process gets, and which loops run a role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from penstock.clock import Clock
from penstock.contract import decoder_for
from penstock.events import Alert, Decision, ModelRecord, encode
from penstock.log.following import Follower
from penstock.log.port import Log, Message, Record, TopicPartition
from penstock.models.artifact import ArtifactStore
from penstock.models.slot import ServedModels, is_older
from penstock.models.snapshots import SnapshotPublisher
from penstock.models.watch import Watch, unloadable
from penstock.runtime.checkpoint import CheckpointStore
from penstock.runtime.commits import Commits, InlineCommits
from penstock.runtime.loop import LoopOptions, StageLoop, group_name
from penstock.runtime.patience import Patience
from penstock.runtime.ranges import read_range
from penstock.runtime.stage import Stage
from penstock.spec import Pipeline
from penstock.telemetry import CounterName, GaugeName, Telemetry
from penstock.topology import STAGES

#: Slots whose version the retrainer decides on: it hears when one cannot be loaded.
ROLLED_OUT = ("champion", "challenger", "canary")


@dataclass(frozen=True, slots=True)
class System:
    """The ports of one installation, each with its implementation."""

    pipeline: Pipeline
    log: Log
    artifacts: ArtifactStore
    checkpoints: CheckpointStore
    snapshots: Callable[[], SnapshotPublisher]
    clock: Clock
    telemetry: Telemetry
    commits: Callable[[], Commits] = InlineCommits
    after_swap: Callable[[], None] = lambda: None


def served_models(system: System) -> ServedModels:
    """What a process serves, before the first record of ``models``; a refused model becomes an alert."""
    from online.loading import model_loader
    from online.prior import PriorModel

    return ServedModels(
        system.artifacts, model_loader(system.pipeline), PriorModel(system.pipeline), partial(_refused, system)
    )


def _refused(system: System, record: ModelRecord, why: str) -> None:
    system.telemetry.count(CounterName.SWAPS, slot=record.slot.split("-")[0], outcome="refused")
    alert = Alert(
        id=f"refused-{record.slot}-{record.version}-{record.generation}-{record.snapshot or 0}",
        severity="critical",
        title=f"model {record.version} was refused",
        detail=why,
        at_ms=system.clock.now_ms(),
        source="scorer",
    )
    messages = [Message("alerts", alert.id.encode(), encode(alert))]
    if record.slot in ROLLED_OUT:
        health = unloadable(record, why, "serving", system.clock.now_ms())
        messages.append(Message("commands", health.id.encode(), encode(health)))
    system.log.append(messages)


class ModelsTail:
    """Keeps `ServedModels` up to date from the ``models`` topic."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._follower = Follower(system.log, {"models": None})
        self._caught_up = False
        self._pending: dict[str, ModelRecord] = {}
        self._decode = decoder_for("models", system.pipeline)
        self.served = served_models(system)

    def follow(self) -> None:
        """Apply what was announced since the last call; of several records of a slot, the newest only.

        The first call reads all that the topic holds, so that a restart never takes a generation back.

        Raises:
            LogUnavailableError: call it again; what was read is not lost.
        """
        if not self._caught_up:
            for records in self._follower.history():
                self._note(records)
            self._caught_up = True
        while records := self._follower.poll(0.0):
            self._note(records)
        swapped = False
        while self._pending:
            slot = next(iter(self._pending))
            if self.served.apply(self._pending[slot]):
                swapped = True
                self._system.telemetry.count(CounterName.SWAPS, slot=slot.split("-")[0], outcome="swapped")
            del self._pending[slot]
        if swapped:
            self._system.after_swap()
        self._system.telemetry.gauge(GaugeName.GENERATION, self.served.serving.generation)

    def _note(self, records: Sequence[Record]) -> None:
        for record in records:
            event = self._decode(record.value)
            if isinstance(event, ModelRecord) and not is_older(event, self._pending.get(event.slot)):
                self._pending[event.slot] = event


def read_all(log: Log, topic: str, partition: int = 0) -> list[bytes]:
    """The values of all records that a partition holds now."""
    where = TopicPartition(topic, partition)
    return [record.value for record in read_range(log, where, *log.bounds(where))]


def decisions_of(system: System) -> list[Decision]:
    """The whole chain of decisions, oldest first."""
    return decisions_in(system.log, system.pipeline)


def decisions_in(log: Log, pipeline: Pipeline) -> list[Decision]:
    """The whole chain of decisions in the log of ``pipeline``, oldest first."""
    decode = decoder_for("decisions", pipeline)
    events = [decode(value) for value in read_all(log, "decisions")]
    return [event for event in events if isinstance(event, Decision)]


def unobserved(_: str) -> None:
    """The kill points of a process that is not being tested."""


def make_loop(
    role: str,
    system: System,
    member: str,
    options: LoopOptions,
    reached: Callable[[str], None] = unobserved,
    patience: Patience | None = None,
) -> StageLoop:
    """The loop that runs the stream stage ``role``; ``reached`` hears the loop's kill points.

    ``patience`` is how it waits for a log that is away; its sleep may raise to end the wait.
    """
    models = ModelsTail(system) if role == "scorer" else None
    return StageLoop(
        STAGES[role],
        system.pipeline,
        system.log,
        _stages(role, system, models),
        system.checkpoints,
        system.clock,
        system.telemetry,
        member,
        options,
        commits=system.commits(),
        before_batch=models.follow if models else None,
        reached=reached,
        patience=patience,
    )


def _stages(role: str, system: System, models: ModelsTail | None) -> Callable[[int], Stage]:
    """What makes the stage of a partition. Each role imports its own: a process holds only what it runs."""
    pipeline = system.pipeline
    if role == "joiner":
        from consumers.joiner import Joiner

        return lambda partition: Joiner(pipeline, partition)
    if role == "learner":
        from consumers.learner import Learner
        from online.detectors.outcomes import OutcomeDetectors

        return lambda partition: Learner(pipeline, partition, system.snapshots(), OutcomeDetectors(pipeline))
    if role == "monitor":
        from consumers.monitor import Monitor

        return lambda partition: Monitor(pipeline, partition)
    if role == "incidents":
        from consumers.incidents import Incidents

        return lambda _: Incidents(pipeline)
    if role == "notifier":
        from consumers.incident_report import IncidentReports

        return lambda _: IncidentReports(pipeline)
    if role == "retrainer":
        from retraining.start import started_retrainer

        return lambda _: started_retrainer(pipeline, system.log, group_name(pipeline.name, role))
    if models is None:
        raise ValueError(f"{role}: no stream stage")
    from consumers.scorer import Scorer

    served = models.served
    watch = Watch(pipeline.rollout, role, system.clock.monotonic_s, system.telemetry)
    return lambda _: Scorer(pipeline, served, watch)


STREAM_ROLES: Sequence[str] = ("scorer", "joiner", "learner", "monitor", "incidents", "retrainer", "notifier")


def state_dir(data_dir: Path, pipeline: Pipeline) -> Path:
    """The folder of one pipeline in the data directory."""
    return data_dir / pipeline.name
