"""The stage that watches what comes in: covariate and schema drift of the predictions' features."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from online.detectors.base import Batch, Detector
from online.detectors.categorical import ChiSquare
from online.detectors.numeric import KolmogorovSmirnov
from online.detectors.schema import SchemaShares
from penstock.events import Evidence, Features, FeatureValue, Finding, Metrics, Prediction
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline

#: How many of the newest ids are remembered to recognise a repeated prediction.
REMEMBERED_IDS = 10_000


class _State(msgspec.Struct, array_like=True):
    seen: int
    repeats: int
    generation: int
    recent: list[str]
    times: list[int]
    rows: list[list[FeatureValue]]
    detectors: list[bytes]


class Monitor:
    """Reads ``predictions`` of one partition; every ``look_every`` of them writes what each detector sees.

    A repeat of one of the newest 10,000 ids is counted, not looked at. At the first higher generation of a champion's
    prediction all references start afresh. Scores are not monitored: while the online model learns they move without
    any drift, beyond what the bound on false incidents allows. Nor are dates, which always move.
    """

    def __init__(self, pipeline: Pipeline, partition: int) -> None:
        self._partition = partition
        self._look_every = pipeline.drift.look_every
        self._reference_size = pipeline.drift.reference
        self._names = [feature.name for feature in pipeline.features]
        self._detectors: tuple[Detector, ...] = (
            KolmogorovSmirnov(pipeline),
            ChiSquare(pipeline),
            SchemaShares(pipeline),
        )
        self._seen = 0
        self._repeats = 0
        self._generation = 0
        self._recent: dict[str, None] = {}
        self._times: list[int] = []
        self._rows: list[Features] = []

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
            self._times.append(prediction.event_time_ms)
            self._rows.append(prediction.features)
            if self._seen % self._look_every == 0:
                outputs.extend(self._look(record.offset, prediction))
        return outputs

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
        self._times, self._rows = [], []
        for detector in self._detectors:
            detector.reset()

    def _look(self, offset: int, prediction: Prediction) -> list[Output]:
        batch = Batch(self._times, self._rows)
        findings: list[Finding] = [finding for detector in self._detectors for finding in detector.update(batch)]
        evidence = Evidence(
            stage="monitor",
            partition=self._partition,
            seen=self._seen,
            record_id=prediction.id,
            event_time_ms=prediction.event_time_ms,
            generation=self._generation,
            findings=findings,
            reference=f"the first {self._reference_size} predictions of generation {self._generation}",
        )
        metrics = Metrics(
            stage="monitor",
            partition=self._partition,
            seen=self._seen,
            record_id=prediction.id,
            event_time_ms=prediction.event_time_ms,
            generation=self._generation,
            offset=offset,
            counts={"predictions": self._look_every, "repeated_predictions": self._repeats},
        )
        self._times, self._rows, self._repeats = [], [], 0
        key = str(self._partition)
        return [Output("evidence", key, evidence), Output("metrics", key, metrics)]

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
                [detector.state() for detector in self._detectors],
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._seen, self._repeats, self._generation = held.seen, held.repeats, held.generation
        self._recent = dict.fromkeys(held.recent)
        self._times = held.times
        self._rows = [dict(zip(self._names, row, strict=True)) for row in held.rows]
        for detector, held_state in zip(self._detectors, held.detectors, strict=True):
            detector.restore(held_state)
