"""The stage that pairs predictions with labels and writes the order down, so that learning has one input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from online.joining import Join
from penstock.events import Example, Label, Metrics, Prediction
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline

#: Inputs between two metrics records.
METRICS_EVERY = 100


class _State(msgspec.Struct, array_like=True):
    join: bytes
    seen: int
    generation: int
    told: dict[str, int]


class Joiner:
    """Reads ``predictions`` and ``labels`` of one partition, writes ``examples`` (see `online.joining`).

    Every 100 inputs a metrics record says what was counted since the last one.
    """

    def __init__(self, pipeline: Pipeline, partition: int) -> None:
        self._partition = partition
        self._join = Join(pipeline.horizon_ms, pipeline.early_bound_ms)
        self._seen = 0
        self._generation = 0
        self._told: Counter[str] = Counter()

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """Each example goes out with the record that completes or revises it."""
        outputs: list[Output] = []
        for record in inputs:
            event = record.event
            if isinstance(event, Prediction):
                self._generation = max(self._generation, event.generation)
                examples = self._join.add_prediction(event, record.timestamp_ms)
            elif isinstance(event, Label):
                examples = self._join.add_label(event, record.timestamp_ms)
            else:
                raise TypeError(f"joiner: {record.topic}/{record.offset} is a {type(event).__name__}")
            outputs.extend(_output(example) for example in examples)
            self._seen += 1
            if self._seen % METRICS_EVERY == 0:
                outputs.append(self._metrics(record, event))
        return outputs

    def _metrics(self, record: Input, event: Prediction | Label) -> Output:
        counts = self._join.counts
        since = {name: counts[name] - self._told[name] for name in sorted(counts) if counts[name] != self._told[name]}
        self._told = Counter(counts)
        metrics = Metrics(
            stage="joiner",
            partition=self._partition,
            seen=self._seen,
            record_id=event.id,
            event_time_ms=record.timestamp_ms if event.event_time_ms is None else event.event_time_ms,
            generation=self._generation,
            offset=record.offset,
            counts=since,
        )
        return Output("metrics", str(self._partition), metrics)

    def state(self) -> bytes:
        """Waiting and settled records, watermarks and counts."""
        return msgspec.msgpack.encode(_State(self._join.state(), self._seen, self._generation, dict(self._told)))

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._join.restore(held.join)
        self._seen, self._generation, self._told = held.seen, held.generation, Counter(held.told)


def _output(example: Example) -> Output:
    return Output("examples", example.prediction.entity, example)
