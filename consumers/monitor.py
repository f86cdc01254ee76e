"""The stage that watches what comes in and what is answered, without labels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from online.detectors.base import Batch, Detector
from online.detectors.categorical import ChiSquare
from online.detectors.fairness import DemographicParity
from online.detectors.location import Location
from online.detectors.numeric import KolmogorovSmirnov
from online.detectors.population import DomainClassifier
from online.detectors.schema import SchemaShares
from online.detectors.scores import ServedScores
from online.detectors.served import Served, served
from online.detectors.significance import HOURLY_LEAST
from penstock.events import Evidence, Features, FeatureValue, Finding, Metrics, Prediction
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline

#: How many of the newest ids are remembered to recognise a repeated prediction.
REMEMBERED_IDS = 10_000
#: A look is due after this much event time, if enough came.
HOUR_MS = 3_600_000


class _State(msgspec.Struct, array_like=True):
    seen: int
    repeats: int
    generation: int
    recent: list[str]
    times: list[int]
    rows: list[list[FeatureValue]]
    served: list[Served]
    decisions: list[str | None]
    looked_ms: int | None
    until_turn: int
    detectors: list[bytes]
    answered: dict[str, int]


class Monitor:
    """Reads ``predictions`` of one partition; writes what each detector sees, look by look.

    A look is due every ``look_every`` predictions, and after an hour of event time that brought at least 50. A repeat
    of one of the newest 10,000 ids is counted, not looked at. ``drift.reference_mode`` says what is compared with what:
    ``promotion``, at the first higher generation of a champion's prediction all references start afresh; ``fixed``, the
    first records are the reference for good; ``sliding``, every ``drift.window`` records the current window becomes the
    reference and a new one begins. Dates always move and are not watched.
    """

    def __init__(self, pipeline: Pipeline, partition: int) -> None:
        self._partition = partition
        self._look_every = pipeline.drift.look_every
        self._reference_size, self._window = pipeline.drift.reference, pipeline.drift.window
        self._mode = pipeline.drift.reference_mode
        self._task = pipeline.task
        self._names = [feature.name for feature in pipeline.features]
        numbers, categories = KolmogorovSmirnov(pipeline), ChiSquare(pipeline)
        by_name = dict.fromkeys(numbers.names, numbers.dependence) | dict.fromkeys(
            categories.names, categories.dependence
        )
        self._detectors: tuple[Detector, ...] = (
            numbers,
            Location(pipeline, numbers.dependence),
            categories,
            SchemaShares(pipeline),
            ServedScores(pipeline),
            DemographicParity(pipeline),
        )
        self._population = DomainClassifier(pipeline, lambda name: by_name[name](name))
        self._seen = 0
        self._repeats = 0
        self._answered: dict[str, int] = {}
        self._generation = 0
        self._recent: dict[str, None] = {}
        self._times: list[int] = []
        self._rows: list[Features] = []
        self._served: list[Served] = []
        self._decisions: list[str | None] = []
        self._looked_ms: int | None = None
        self._until_turn = self._reference_size + self._window

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """One evidence record and one metrics record per look."""
        outputs: list[Output] = []
        for record in inputs:
            prediction = record.event
            if not isinstance(prediction, Prediction):
                raise TypeError(f"monitor: {record.topic}/{record.offset} is a {type(prediction).__name__}")
            if self._repeated(prediction.id):
                continue
            if prediction.role == "champion" and prediction.generation > self._generation:
                self._start_afresh(prediction.generation)
            self._seen += 1
            self._answered[prediction.version] = self._answered.get(prediction.version, 0) + 1
            self._times.append(prediction.event_time_ms)
            self._rows.append(prediction.features)
            champion = prediction.role == "champion" and prediction.generation == self._generation
            self._decisions.append(str(prediction.decision) if champion else None)
            if champion:
                self._served.append(served(prediction, self._task))
            if self._due(prediction.event_time_ms):
                outputs.extend(self._look(record.offset, prediction))
        return outputs

    def _due(self, now_ms: int) -> bool:
        if self._looked_ms is None:
            self._looked_ms = now_ms
        waited = len(self._rows)
        return waited >= self._look_every or (waited >= HOURLY_LEAST and now_ms - self._looked_ms >= HOUR_MS)

    def _repeated(self, id_: str) -> bool:
        if id_ in self._recent:
            self._repeats += 1
            return True
        self._recent[id_] = None
        if len(self._recent) > REMEMBERED_IDS:
            del self._recent[next(iter(self._recent))]
        return False

    def _start_afresh(self, generation: int) -> None:
        self._generation = generation
        self._served = []
        if self._mode != "promotion":
            return
        self._times, self._rows, self._decisions = [], [], []
        for detector in self._all():
            detector.reset()

    def _all(self) -> tuple[Detector, ...]:
        return (*self._detectors, self._population)

    def _turn(self) -> None:
        """A window has come since the references were full, or since they last were exchanged."""
        self._until_turn -= len(self._rows)
        if self._mode == "sliding" and self._until_turn <= 0:
            self._until_turn = self._window
            for detector in self._all():
                detector.turn()

    def _look(self, offset: int, prediction: Prediction) -> list[Output]:
        batch = Batch(self._times, self._rows, self._served, self._decisions)
        findings: list[Finding] = [finding for detector in self._detectors for finding in detector.update(batch)]
        moved = any(
            found.kind in {"covariate", "schema"} and found.since_event_time_ms is not None for found in findings
        )  # only what is significant is dated
        self._population.explain(moved, len(batch.rows))
        findings += self._population.update(batch)
        evidence = Evidence(
            stage="monitor",
            partition=self._partition,
            seen=self._seen,
            record_id=prediction.id,
            event_time_ms=prediction.event_time_ms,
            generation=self._generation,
            findings=findings,
            reference=self._reference(),
        )
        metrics = Metrics(
            stage="monitor",
            partition=self._partition,
            seen=self._seen,
            record_id=prediction.id,
            event_time_ms=prediction.event_time_ms,
            generation=self._generation,
            offset=offset,
            counts={"predictions": len(self._rows), "repeated_predictions": self._repeats},
            answered=self._answered,
        )
        self._turn()
        self._times, self._rows, self._served, self._decisions, self._repeats = [], [], [], [], 0
        self._answered, self._looked_ms = {}, prediction.event_time_ms
        key = str(self._partition)
        return [Output("evidence", key, evidence), Output("metrics", key, metrics)]

    def _reference(self) -> str:
        if self._mode == "fixed":
            return f"the first {self._reference_size} predictions"
        if self._mode == "sliding":
            return f"the {self._window} predictions before the current window"
        return f"the first {self._reference_size} predictions of generation {self._generation}"

    def state(self) -> bytes:
        """Counts, the newest ids, the records since the last look, and the detectors' windows."""
        return msgspec.msgpack.encode(
            _State(
                self._seen,
                self._repeats,
                self._generation,
                list(self._recent),
                self._times,
                [[row[name] for name in self._names] for row in self._rows],
                self._served,
                self._decisions,
                self._looked_ms,
                self._until_turn,
                [detector.state() for detector in self._all()],
                self._answered,
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._seen, self._repeats, self._generation = held.seen, held.repeats, held.generation
        self._recent = dict.fromkeys(held.recent)
        self._times = held.times
        self._served, self._looked_ms, self._until_turn = held.served, held.looked_ms, held.until_turn
        self._decisions = held.decisions
        self._answered = held.answered
        self._rows = [dict(zip(self._names, row, strict=True)) for row in held.rows]
        for detector, held_state in zip(self._all(), held.detectors, strict=True):
            detector.restore(held_state)
