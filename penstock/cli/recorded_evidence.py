"""What a finished run leaves for cheaper ones: its evidence, folded again under other thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from consumers.incidents import Incidents
from penstock.cli.evaluation import records
from penstock.contract import decoder_for
from penstock.events import Drift
from penstock.log.port import Log
from penstock.runtime.stage import Input
from penstock.spec import Pipeline


class Folded(NamedTuple):
    """A drift event, with the offset and the append time of the evidence that caused it."""

    offset: int
    timestamp_ms: int
    drift: Drift


class Trigger(NamedTuple):
    """What retraining depends on in a critical incident."""

    id: str
    offset: int
    generation: int
    since_event_time_ms: int


@dataclass(frozen=True, slots=True)
class RecordedEvidence:
    """All evidence of one run of ``pipeline``, and the ``triggers`` of retraining that it led to."""

    pipeline: Pipeline
    inputs: Sequence[Input]
    triggers: Sequence[Trigger]

    def refold(self, pipeline: Pipeline) -> list[tuple[int, Drift]] | None:
        """The drift events of a whole run of ``pipeline``, each with its append time; None where only a run can tell.

        A run of ``pipeline`` has the very same evidence if the two differ in thresholds of the drift policy alone, and
        no promotion comes otherwise: retraining is off, or the critical incidents that trigger it are the same, at the
        same evidence.
        """
        mine = self.pipeline
        if replace(pipeline, drift=mine.drift) != mine or pipeline.state_digest() != mine.state_digest():
            return None
        folded = fold(self.inputs, pipeline)
        if mine.retraining.enabled and triggers(folded) != self.triggers:
            return None
        return [(item.timestamp_ms, item.drift) for item in folded]


def recorded_evidence(log: Log, pipeline: Pipeline) -> RecordedEvidence:
    """Read the evidence of a run of ``pipeline`` from its log."""
    decode = decoder_for("evidence", pipeline)
    inputs = [
        Input(record.topic, record.partition, record.offset, record.timestamp_ms, decode(record.value))
        for record in records(log, "evidence")
    ]
    return RecordedEvidence(pipeline, inputs, triggers(fold(inputs, pipeline)))


def fold(inputs: Iterable[Input], pipeline: Pipeline) -> list[Folded]:
    """The drift events that the incidents stage of ``pipeline`` makes of evidence."""
    stage = Incidents(pipeline)
    return [
        Folded(item.offset, item.timestamp_ms, output.event)
        for item in inputs
        for output in stage.process([item])
        if isinstance(output.event, Drift)
    ]


def triggers(folded: Iterable[Folded]) -> list[Trigger]:
    """What would trigger retraining, in order: the first critical event of each incident."""
    found: dict[str, Trigger] = {}
    for offset, _, drift in folded:
        if drift.level == "critical" and drift.status != "closed":
            since = drift.event_time_ms if drift.since_event_time_ms is None else drift.since_event_time_ms
            found.setdefault(drift.id, Trigger(drift.id, offset, drift.generation, since))
    return list(found.values())
