"""Rows of a table as the requests and labels of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from penstock.events import Features, Label, Request, encode
from penstock.spec import Pipeline
from producers.schedule import ROW_MS, StreamRow
from producers.table import Table, open_table
from producers.values import is_missing, parse_number, parser_for, time_parser


def table_rows(pipeline: Pipeline, path: Path) -> Iterator[StreamRow]:
    """The rows of the CSV file at ``path``, in file order, as ``pipeline`` declares its columns.

    A row that breaks the contract is not dropped: a bad value is sent as its text, and a ragged row (another number of
    fields than the header) is sent without features but with its fields as they are, so that its reader sets it aside.
    A missing id becomes ``row-<index>``; a missing time is the time of the row before. The label of a row without its
    entity could never meet its prediction and is not sent.

    Raises:
        UsageError: the file does not read, or a column that the pipeline needs is not there; at the call, not later.
    """
    table = open_table(path)
    return _RowEncoder(pipeline, table).rows()


class _RowEncoder:
    """One pipeline's view of one table."""

    def __init__(self, pipeline: Pipeline, table: Table) -> None:
        self._pipeline = pipeline
        self._table = table
        self._features = [
            (feature.name, table.position(feature.name), parser_for(feature, table.decimal_comma))
            for feature in pipeline.features
        ]
        self._target = table.position(pipeline.target)
        self._value = outcome_parser(pipeline, table.decimal_comma)
        self._id, self._entity, self._time, self._label_time = (
            None if column is None else table.position(column)
            for column in (pipeline.id, pipeline.entity, pipeline.time, pipeline.label_time)
        )
        self._parse_time = time_parser(pipeline.time_format)
        self._parse_any_time = time_parser(None)

    def rows(self) -> Iterator[StreamRow]:
        width = len(self._table.columns)
        time_ms = 0
        for index, fields in enumerate(self._table.rows()):
            row = self._ragged(index, fields, time_ms) if len(fields) != width else self._row(index, fields, time_ms)
            time_ms = row.time_ms
            yield row

    def _row(self, index: int, fields: list[str], newest_ms: int) -> StreamRow:
        id_ = str(index) if self._id is None else fields[self._id].strip() or f"row-{index}"
        entity = None if self._entity is None else fields[self._entity].strip() or None
        features: Features = {name: parse(fields[position]) for name, position, parse in self._features}
        time_ms: int | None = index * ROW_MS
        if self._time is not None:
            text = fields[self._time]
            time_ms = newest_ms if is_missing(text) else self._parse_time(text)
        if time_ms is None:
            request = self._unparsed_time(id_, entity, features, fields[self._time or 0])
            time_ms = newest_ms
        else:
            request = encode(Request(id=id_, features=features, entity=entity, event_time_ms=time_ms))
        value = self._value(fields[self._target])
        lost = self._entity is not None and entity is None
        label = None if value is None or lost else encode(Label(id=id_, value=value, entity=entity))
        return StreamRow(index, id_, entity or id_, time_ms, request, label, self._known_at(fields))

    def _known_at(self, fields: Sequence[str]) -> int | None:
        if self._label_time is None or is_missing(fields[self._label_time]):
            return None
        text = fields[self._label_time]
        known = self._parse_time(text)
        return self._parse_any_time(text) if known is None else known

    def _ragged(self, index: int, fields: list[str], newest_ms: int) -> StreamRow:
        id_ = str(index) if self._id is None else f"row-{index}"
        time_ms = index * ROW_MS if self._time is None else newest_ms
        request = {"id": id_, "features": {}, "event_time_ms": time_ms, "fields": fields}
        if self._entity is not None:
            request["entity"] = id_
        return StreamRow(index, id_, id_, time_ms, msgspec.json.encode(request), None)

    @staticmethod
    def _unparsed_time(id_: str, entity: str | None, features: Features, text: str) -> bytes:
        request: dict[str, Any] = {"id": id_, "features": features, "event_time_ms": text}
        if entity is not None:
            request["entity"] = entity
        return msgspec.json.encode(request)


def outcome_parser(pipeline: Pipeline, decimal_comma: bool) -> Callable[[str], str | float | None]:
    """How the target's fields are read: a class as it is written, else a number, else the text; missing → None."""
    classes = frozenset(pipeline.classes)

    def parse(text: str) -> str | float | None:
        text = text.strip()
        if text in classes:
            return text
        if is_missing(text):
            return None
        number = parse_number(text, decimal_comma)
        return text if number is None else number

    return parse
