"""The product on a stream: its monitor, learner and incidents; and each detector alone under the same policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple, get_args

import msgspec

from benchmarks.drift.streams import Stream
from consumers.incidents import Incidents
from consumers.learner import Learner
from consumers.monitor import Monitor
from online.committee import Committee
from online.detectors.concept import ErrorDetectors
from online.detectors.outcomes import OutcomeDetectors
from online.detectors.significance import REFERENCE_MODEL
from online.scoring import decide
from penstock.events import Drift, Evidence, Example, Features, Finding, Outcome, Prediction, Score
from penstock.models import pickles
from penstock.models.artifact import ArtifactRef
from penstock.models.slot import ONLINE
from penstock.models.snapshots import EARLY, EVERY
from penstock.runtime.stage import Input
from penstock.spec import ErrorDetector, Pipeline

#: Event time between two rows: a drift policy may look by the hour as well.
ROW_MS = 1000


class Silent:
    """A publisher that never takes a snapshot."""

    def offer(self, learned: int, dump: Callable[[], bytes]) -> ArtifactRef | None:  # noqa: ARG002  # a port's names
        """See `penstock.models.snapshots.SnapshotPublisher`."""
        return None


class Opening(NamedTuple):
    """An incident that opened at ``row``."""

    row: int
    kind: str
    detector: str
    feature: str | None


def predicted(pipeline: Pipeline, row: int, features: Features, score: Score, snapshot: int | None) -> Prediction:
    """What the scorer would have written about ``row``; ``snapshot`` None: a model that was promoted answered."""
    return Prediction(
        id=f"r{row}",
        entity=f"r{row}",
        event_time_ms=row * ROW_MS,
        features=features,
        version="v1" if snapshot is None else ONLINE,
        generation=int(snapshot is None),
        decision=decide(pipeline, score),
        score=None if isinstance(score, dict) else score,
        scores=score if isinstance(score, dict) else None,
        snapshot=snapshot,
    )


def labelled(prediction: Prediction, value: Outcome) -> Example:
    """``prediction`` with its label, known at once."""
    return Example(id=prediction.id, prediction=prediction, value=value, label_time_ms=prediction.event_time_ms)


def examples(stream: Stream) -> list[Example]:
    """The stream as it was served."""
    return [
        labelled(predicted(stream.pipeline, row, features, score, snapshot), value)
        for row, ((features, value), (score, snapshot)) in enumerate(zip(stream.rows, _served(stream), strict=True))
    ]


def _served(stream: Stream) -> list[tuple[Score, int | None]]:
    """Each score, and how many rows its snapshot had learned; None where a model answered that learns no more."""
    if stream.answers is not None:
        return [(answer, None) for answer in stream.answers]
    learner = serving = Committee(stream.pipeline)
    scores: list[tuple[Score, int | None]] = []
    taught = len(stream.rows) if stream.taught is None else stream.taught
    for row, (features, value) in enumerate(stream.rows):
        if row < taught:
            if row in EARLY or row % EVERY == 0:
                serving = pickles.loads(pickles.dumps(learner))
            learner.learn_one(features, value, learner.learned - serving.learned)
        scores.append((serving.score_one(features), serving.learned if row < taught else None))
    return scores


def errors(known: list[Example]) -> list[int]:
    """Whether each decision was wrong."""
    return [int(example.prediction.decision != example.value) for example in known]


def evidence(pipeline: Pipeline, known: list[Example]) -> Iterator[tuple[int, Evidence]]:
    """Each record of evidence with its row, from one partition of the monitor and of the learner."""
    monitor, learner = Monitor(pipeline, 0), Learner(pipeline, 0, Silent(), OutcomeDetectors(pipeline))
    for row, example in enumerate(known):
        time_ms = example.prediction.event_time_ms
        outputs = monitor.process([Input("predictions", 0, row, time_ms, example.prediction)])
        outputs += learner.process([Input("examples", 0, row, time_ms, example)])
        for output in outputs:
            if isinstance(output.event, Evidence):
                yield row, output.event


def error_evidence(pipeline: Pipeline, known: list[Example]) -> Iterator[tuple[int, Evidence]]:
    """What each error detector there is would say if it decided: on the errors of what was served."""
    every: tuple[ErrorDetector, ...] = get_args(ErrorDetector)
    drift = replace(pipeline.drift, error_detectors=every, deciding=every)
    detectors = ErrorDetectors(replace(pipeline, drift=drift))
    generation = 0
    for row, example in enumerate(known):
        if example.prediction.generation > generation:
            generation = example.prediction.generation
            detectors.reset(generation)
        findings = detectors.update(example, example.prediction.served)
        if (row + 1) % drift.look_every == 0:
            findings += detectors.look()
        if findings:
            yield (
                row,
                Evidence(
                    stage="learner",
                    partition=0,
                    seen=row + 1,
                    record_id=example.id,
                    event_time_ms=example.prediction.event_time_ms,
                    generation=generation,
                    findings=findings,
                ),
            )


def incidents(pipeline: Pipeline, records: list[tuple[int, Evidence]]) -> list[Opening]:
    """The incidents that ``records`` open."""
    stage, opened = Incidents(pipeline), []
    for offset, (row, record) in enumerate(records):
        for output in stage.process([Input("evidence", 0, offset, record.event_time_ms, record)]):
            drift = output.event
            if isinstance(drift, Drift) and drift.status == "opened":
                opened.append(Opening(row, drift.kind, drift.detector, drift.feature))
    return opened


def name_of(finding: Finding) -> str:
    """How a detector is called in the tables: what it watches, and by what; `REFERENCE_MODEL` is a name of its own."""
    return f"{finding.kind}: {finding.version if finding.version == REFERENCE_MODEL else finding.detector}"


def detectors(records: list[tuple[int, Evidence]]) -> list[str]:
    """All that had something to say."""
    return sorted({name_of(finding) for _, record in records for finding in record.findings})


def only(records: list[tuple[int, Evidence]], detector: str) -> list[tuple[int, Evidence]]:
    """The same looks with the findings of ``detector`` alone."""
    return [
        (row, msgspec.structs.replace(record, findings=[f for f in record.findings if name_of(f) == detector]))
        for row, record in records
    ]
