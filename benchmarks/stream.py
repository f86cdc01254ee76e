"""The events that benchmarks run on: a real data set where it is at hand, else the demo's generated stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from penstock.events import Example, Label, Prediction, Request, encode
from penstock.spec import Pipeline
from producers.agrawal import credit_stream
from producers.datasets import dataset_path
from producers.rows import table_rows
from producers.schedule import StreamRow

DATASET = "elec2"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SEED = 7


class Source(NamedTuple):
    """Where events come from: a name for the report, the spec, and the rows (endless: a data set starts over)."""

    name: str
    pipeline: Pipeline
    rows: Iterator[StreamRow]


def open_source(pipeline_name: str) -> Source:
    """The elec2 data set (PENSTOCK_DATASETS_DIR, else beside the checkout), or the credit stream, renamed."""
    directory = Path(os.environ.get("PENSTOCK_DATASETS_DIR") or SHARED)
    if any((directory / f"{DATASET}{suffix}").is_file() for suffix in (".csv.gz", ".csv")):
        from pipelines.elec2 import PIPELINE as ELEC2

        path = dataset_path(DATASET, directory)
        return Source(DATASET, replace(ELEC2, name=pipeline_name), _over_and_over(ELEC2, path))
    from pipelines.credit import PIPELINE as CREDIT

    return Source("credit (generated)", replace(CREDIT, name=pipeline_name), credit_stream(10**9, SEED)[0])


def _over_and_over(pipeline: Pipeline, path: Path) -> Iterator[StreamRow]:
    while True:
        yield from table_rows(pipeline, path)


def requests(source: Source, count: int) -> Iterator[Request]:
    """``count`` requests with ids and times of their own, also where the data set starts over."""
    for index, row in enumerate(islice(source.rows, count)):
        read = msgspec.json.decode(row.request, type=Request)
        yield msgspec.structs.replace(read, id=f"r{index}", entity=None, event_time_ms=index * 1000)


def examples(source: Source, count: int) -> Iterator[Example]:
    """``count`` examples: what the online model might have answered (the share of the class so far), and the truth."""
    positive = source.pipeline.positive
    ones = 0
    for index, row in enumerate(islice(source.rows, count)):
        read = msgspec.json.decode(row.request, type=Request)
        value = str(msgspec.json.decode(row.label or b"", type=Label).value)
        score = (ones + 1) / (index + 2)
        ones += value == positive
        yield Example(
            id=f"r{index}",
            prediction=_prediction(source.pipeline, read, index, score),
            value=value,
            label_time_ms=(index + 500) * 1000,
        )


def _prediction(pipeline: Pipeline, request: Request, index: int, score: float) -> Prediction:
    return Prediction(
        id=f"r{index}",
        entity=f"r{index}",
        event_time_ms=index * 1000,
        features=request.features,
        version="online",
        generation=0,
        decision=pipeline.classes[int(score >= pipeline.threshold)],
        score=score,
        snapshot=index,
    )


def encoded(events: Iterator[Request] | Iterator[Example]) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of each event, as they stand in the log."""
    for event in events:
        yield event.id.encode(), encode(event)
