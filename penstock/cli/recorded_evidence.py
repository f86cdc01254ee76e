"""What a finished run leaves for cheaper ones: its evidence, folded again under other thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from consumers.incidents import Incidents
from penstock.cli.evaluation import records
from penstock.contract import decoder_for
from penstock.events import Drift, DriftCondition, Level, Metrics
from penstock.log.port import Log
from penstock.runtime.stage import Input
from penstock.spec import Pipeline


class Folded(NamedTuple):
    """What came of evidence, with the offset and the append time of that."""

    offset: int
    timestamp_ms: int
    event: Drift | Metrics


class Trigger(NamedTuple):
    """What retraining depends on in an incident when it opens or becomes critical."""

    id: str
    offset: int
    level: Level
    generation: int
    since_event_time_ms: int


@dataclass(frozen=True, slots=True)
class RecordedEvidence:
    """All evidence of one run of ``pipeline``, and the ``triggers`` of retraining that it led to."""

    pipeline: Pipeline
    inputs: Sequence[Input]
    triggers: Sequence[Trigger | tuple[int, DriftCondition]]

    def refold(self, pipeline: Pipeline) -> list[tuple[int, Drift]] | None:
        """The drift events of a whole run of ``pipeline``, each with its append time; None where only a run can tell.

        A run of ``pipeline`` has the very same evidence if the two differ in thresholds of the drift policy alone, and
        no promotion comes otherwise: retraining is off, or the incidents and conditions that trigger it are the same,
        at the same evidence.
        """
        mine = self.pipeline
        if replace(pipeline, drift=mine.drift) != mine or pipeline.state_digest() != mine.state_digest():
            return None
        folded = fold(self.inputs, pipeline)
        if mine.retraining.enabled and triggers(folded, pipeline) != self.triggers:
            return None
        return [(item.timestamp_ms, item.event) for item in folded if isinstance(item.event, Drift)]


def recorded_evidence(log: Log, pipeline: Pipeline) -> RecordedEvidence:
    """Read the evidence of a run of ``pipeline`` from its log."""
    decode = decoder_for("evidence", pipeline)
    inputs = [
        Input(record.topic, record.partition, record.offset, record.timestamp_ms, decode(record.value))
        for record in records(log, "evidence")
    ]
    return RecordedEvidence(pipeline, inputs, triggers(fold(inputs, pipeline), pipeline))


def fold(inputs: Iterable[Input], pipeline: Pipeline) -> list[Folded]:
    """The drift events and conditions that the incidents stage of ``pipeline`` makes of evidence."""
    stage = Incidents(pipeline)
    return [
        Folded(item.offset, item.timestamp_ms, output.event)
        for item in inputs
        for output in stage.process([item])
        if isinstance(output.event, Drift | Metrics)
    ]


def triggers(folded: Iterable[Folded], pipeline: Pipeline) -> list[Trigger | tuple[int, DriftCondition]]:
    """What retraining can be triggered by, in order: critical incidents, warnings that are counted, and conditions."""
    found: list[Trigger | tuple[int, DriftCondition]] = []
    told: set[tuple[str, Level]] = set()
    for offset, _, event in folded:
        if isinstance(event, Metrics):
            if event.condition is not None:
                found.append((offset, event.condition))
        elif event.status != "closed" and (event.level == "critical" or pipeline.retraining.warnings is not None):
            since = event.event_time_ms if event.since_event_time_ms is None else event.since_event_time_ms
            if (event.id, event.level) not in told:
                found.append(Trigger(event.id, offset, event.level, event.generation, since))
            told.add((event.id, event.level))
    return found
