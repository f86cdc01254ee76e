"""What the log says about a run: rows, served scores, baselines. Reads the log only, so a demo and a backtest agree."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from penstock.contract import check_outcome, decoder_for
from penstock.errors import ContractError
from penstock.events import Decision, Drift, Event, Evidence, Example, Label, Outcome
from penstock.log.port import Log, Record, TopicPartition
from penstock.spec import Pipeline

_BATCH = 2000


class _RequestId(msgspec.Struct):
    id: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """Requests as data rows: the n-th request appended is row n (broken ones count)."""

    appended_ms: list[int]
    by_id: dict[str, int]

    def position(self, timestamp_ms: int) -> int:
        """The newest row that had been appended at ``timestamp_ms``."""
        return max(0, bisect_right(self.appended_ms, timestamp_ms) - 1)


@dataclass(frozen=True, slots=True)
class Scored:
    """A labelled row with the example that its prediction and label became."""

    row: int
    example: Example
    label_ms: int


@dataclass(frozen=True, slots=True)
class History:
    """All that a report needs, in the order of the log. Each event comes with its append time."""

    rows: Rows
    scored: list[Scored]
    labels: list[tuple[int, Outcome]]
    drift: list[tuple[int, Drift]]
    evidence: list[tuple[int, Evidence]]
    decisions: list[tuple[int, Decision]]
    predictions: int
    dead_letters: int


def records(log: Log, topic: str) -> Iterator[Record]:
    """All records of a topic, partition by partition."""
    for partition in range(log.partitions(topic)):
        where = TopicPartition(topic, partition)
        position, end = log.bounds(where)
        while position < end:
            batch = log.read(where, position, end, _BATCH)
            if not batch:
                break
            yield from batch
            position = batch[-1].offset + 1


def read_history(log: Log, pipeline: Pipeline) -> History:
    """Read a whole run back from its log."""
    rows = _rows(log)
    scored = []
    for record, event in _events(log, pipeline, "examples"):
        if isinstance(event, Example) and event.revision == 0 and event.id in rows.by_id:
            scored.append(Scored(rows.by_id[event.id], event, record.timestamp_ms))
    scored.sort(key=lambda item: item.row)
    return History(
        rows,
        scored,
        _labels(log, pipeline),
        [(r.timestamp_ms, e) for r, e in _events(log, pipeline, "drift") if isinstance(e, Drift)],
        [(r.timestamp_ms, e) for r, e in _events(log, pipeline, "evidence") if isinstance(e, Evidence)],
        [(r.timestamp_ms, e) for r, e in _events(log, pipeline, "decisions") if isinstance(e, Decision)],
        sum(log.bounds(TopicPartition("predictions", p)).end for p in range(log.partitions("predictions"))),
        log.bounds(TopicPartition("dead-letters", 0)).end,
    )


def _rows(log: Log) -> Rows:
    decoder = msgspec.json.Decoder(_RequestId)
    arrived: list[tuple[int, int, int, str]] = []
    for record in records(log, "requests"):
        try:
            identifier = decoder.decode(record.value).id
        except msgspec.DecodeError:
            identifier = ""
        arrived.append((record.timestamp_ms, record.partition, record.offset, identifier))
    arrived.sort()
    by_id: dict[str, int] = {}
    for row, (_, _, _, identifier) in enumerate(arrived):
        if identifier:
            by_id.setdefault(identifier, row)
    return Rows([item[0] for item in arrived], by_id)


def _events(log: Log, pipeline: Pipeline, topic: str) -> Iterator[tuple[Record, Event]]:
    decode = decoder_for(topic, pipeline)
    for record in records(log, topic):
        yield record, decode(record.value)


def _labels(log: Log, pipeline: Pipeline) -> list[tuple[int, Outcome]]:
    decode = decoder_for("labels", pipeline)
    known: list[tuple[int, Outcome]] = []
    for record in records(log, "labels"):
        try:
            event = decode(record.value)
        except ContractError:
            continue
        if isinstance(event, Label):
            known.append((record.timestamp_ms, check_outcome(pipeline, event.value)))
    known.sort(key=lambda item: item[0])
    return known


def last_known_labels(history: History) -> list[Outcome | None]:
    """For each scored row, the label that had become known last when its request was appended."""
    times = [time for time, _ in history.labels]
    found: list[Outcome | None] = []
    for item in history.scored:
        index = bisect_left(times, history.rows.appended_ms[item.row]) - 1
        found.append(history.labels[index][1] if index >= 0 else None)
    return found
