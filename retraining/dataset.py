"""Training data: a range of ``examples`` named by offsets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from penstock.errors import ContractError
from penstock.events import DataRange, Event, Example, Features, Outcome, Score
from penstock.log.port import Log, TopicPartition
from penstock.spec import Pipeline

_CHUNK = 2000


class Row(NamedTuple):
    """A labelled row. ``scores`` holds, by version, what was served and what was scored in shadow at request time.

    ``partition`` and ``offset`` are its place in ``examples``.
    """

    id: str
    event_time_ms: int
    features: Features
    outcome: Outcome
    scores: Mapping[str, Score]
    partition: int = 0
    offset: int = 0


class Dataset(NamedTuple):
    """Rows in the order of their event time, and the SHA-256 of what was read."""

    rows: tuple[Row, ...]
    digest: str

    def split(self, comparison_share: float) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The earlier rows to fit on, and the later ``comparison_share`` of them to compare on."""
        cut = len(self.rows) - round(len(self.rows) * comparison_share)
        return self.rows[:cut], self.rows[cut:]


def read_dataset(log: Log, data: DataRange, decode: Callable[[bytes], Event]) -> Dataset:
    """The first-known outcome of every example in ``data``; revisions and records that do not decode are left out.

    Raises:
        OffsetOutOfRangeError: retention has passed the start of the range.
        LogUnavailableError: a retry may succeed.
    """
    digest = hashlib.sha256()
    keyed: list[tuple[int, int, int, Row]] = []
    for name in sorted(data.offsets, key=int):
        start, stop = data.offsets[name]
        partition = TopicPartition("examples", int(name))
        while start < stop:
            records = log.read(partition, start, stop, _CHUNK)
            if not records:
                break
            for record in records:
                digest.update(record.value)
                row = _row(record.value, decode)
                if row is not None:
                    placed = row._replace(partition=partition.partition, offset=record.offset)
                    keyed.append((row.event_time_ms, partition.partition, record.offset, placed))
            start = records[-1].offset + 1
    keyed.sort(key=lambda item: item[:3])
    return Dataset(tuple(item[3] for item in keyed), digest.hexdigest())


def _row(value: bytes, decode: Callable[[bytes], Event]) -> Row | None:
    try:
        example = cast(Example, decode(value))
    except ContractError:
        # The learner has dead-lettered it as well: it was never part of the stream's truth.
        return None
    if example.revision:
        return None
    prediction = example.prediction
    scores = {**prediction.shadow, prediction.version: prediction.served}
    return Row(example.id, prediction.event_time_ms, prediction.features, example.value, scores)


def targets(pipeline: Pipeline, rows: Sequence[Row]) -> NDArray[np.float64]:
    """Class indices (classification) or values (regression) as numbers."""
    if pipeline.task == "regression":
        return np.array([float(row.outcome) for row in rows])
    index = {name: float(position) for position, name in enumerate(pipeline.classes)}
    return np.array([index[str(row.outcome)] for row in rows])
