"""Drift on demand: a stream of rows with known changes in it."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeAlias

import msgspec

from penstock.contract import check_outcome
from penstock.errors import ContractError
from penstock.events import Outcome
from penstock.spec import Numeric, Pipeline
from producers.drifts import Injection
from producers.schedule import ROW_MS, StreamRow

#: How many rows are read ahead to learn what is usual before the first change.
LOOKED_AT_ROWS = 1000
#: A covariate shift moves a number by this many standard deviations, or turns this share of categories into the rarest.
SHIFT_SIZE = 2.0
RESAMPLED_SHARE = 0.8
#: A prior shift keeps this share of the rows of one class.
KEPT_SHARE = 0.2

Values: TypeAlias = dict[str, Any]
Region: TypeAlias = Callable[[Values], bool]


def inject(
    rows: Iterable[StreamRow], pipeline: Pipeline, injections: Sequence[Injection], seed: int
) -> Iterator[StreamRow]:
    """``rows`` with ``injections`` in force, lazily (the first 1,000 rows are read ahead to learn what is usual).

    - covariate: a number moves by + 2 standard deviations; four of five categories become the rarest one (a boolean:
      flips). The labels stay, as when a measuring device is replaced.
    - concept: where the feature lies above its median (a category: among the rarer half), classes rotate by one
      (binary: flip) and a regression's value is mirrored at its mean. Nothing is noise: a model can learn it.
    - prior: of one class (binary: the negative; multiclass: the first) only every fifth row stays. The rows that are
      left count on without a gap, as in a file that never had the others.

    Equal rows, injections and seed give equal output.
    """
    if not injections:
        yield from rows
        return
    source = iter(rows)
    ahead = list(islice(source, LOOKED_AT_ROWS))
    usual = _Usual(pipeline, ahead)
    changes = [_Change(pipeline, injection, usual, f"{seed} {index}") for index, injection in enumerate(injections)]
    position = 0
    for given in chain(ahead, source):
        row = _moved(given, position, pipeline)
        for change in changes:
            changed = change.applied(row)
            if changed is None:
                break
            row = changed
        else:
            yield row
            position += 1


def _moved(row: StreamRow, position: int, pipeline: Pipeline) -> StreamRow:
    """``row`` as data row ``position``: ids and times that are made from the row's number follow it."""
    if row.row == position:
        return row
    request: Values = msgspec.json.decode(row.request)
    label: Values | None = None if row.label is None else msgspec.json.decode(row.label)
    id_, entity, time_ms = row.id, row.entity, row.time_ms
    if pipeline.id is None:
        id_ = str(position)
        entity = row.entity if pipeline.entity is not None and row.entity != row.id else id_
        request["id"] = id_
        if label is not None:
            label["id"] = id_
    if pipeline.time is None:
        time_ms = request["event_time_ms"] = position * ROW_MS
    return StreamRow(
        position, id_, entity, time_ms, _json(request), None if label is None else _json(label), row.label_time_ms
    )


_json = msgspec.json.Encoder().encode


class _Usual:
    """What is usual in the rows looked at, learned where it is asked for."""

    def __init__(self, pipeline: Pipeline, rows: Sequence[StreamRow]) -> None:
        self._pipeline = pipeline
        self._features: list[Values] = [msgspec.json.decode(row.request).get("features", {}) for row in rows]
        self._labels = [msgspec.json.decode(row.label)["value"] for row in rows if row.label is not None]

    def numbers(self, feature: str) -> list[float]:
        values = [row.get(feature) for row in self._features]
        return [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]

    def categories(self, feature: str) -> list[str | bool]:
        """The values seen, the most frequent first; ties by text."""
        counts = Counter(row[feature] for row in self._features if isinstance(row.get(feature), str | bool))
        return sorted(counts, key=lambda value: (-counts[value], str(value)))

    def outcome_mean(self) -> float:
        numbers = [value for value in self._labels if isinstance(value, int | float) and not isinstance(value, bool)]
        return statistics.fmean(numbers) if numbers else 0.0


class _Change:
    """One injection at work on one stream."""

    def __init__(self, pipeline: Pipeline, injection: Injection, usual: _Usual, seed: str) -> None:
        self._pipeline = pipeline
        self._injection = injection
        self._gradual = random.Random(f"gradual {seed}")
        self._draws = random.Random(f"draws {seed}")
        self._feature = injection.feature or ""
        self._numeric = bool(self._feature) and isinstance(pipeline.feature(self._feature), Numeric)
        self._shift = 0.0
        self._rarest: str | bool | None = None
        self._region: Region = lambda _: False
        self._outcome_mean = 0.0
        if injection.kind == "covariate":
            self._learn_shift(usual)
        elif injection.kind == "concept":
            self._region = self._learn_region(usual)
            self._outcome_mean = usual.outcome_mean()

    def _learn_shift(self, usual: _Usual) -> None:
        if self._numeric:
            numbers = usual.numbers(self._feature)
            spread = statistics.pstdev(numbers) if numbers else 0.0
            self._shift = SHIFT_SIZE * (spread or 1.0)
        else:
            categories = usual.categories(self._feature)
            self._rarest = categories[-1] if categories else None

    def _learn_region(self, usual: _Usual) -> Region:
        name = self._feature
        if self._numeric:
            numbers = usual.numbers(name)
            median = statistics.median(numbers) if numbers else 0.0
            return lambda row: isinstance(row.get(name), int | float) and row[name] > median
        categories = usual.categories(name)
        rarer = frozenset(categories[(len(categories) + 1) // 2 :]) or frozenset(categories)
        return lambda row: row.get(name) in rarer

    def applied(self, row: StreamRow) -> StreamRow | None:
        """``row`` as it is with the change, or None where the change takes it out of the stream."""
        share = self._injection.share_at(row.row)
        if share == 0.0 or (share < 1.0 and self._gradual.random() >= share):
            return row
        if self._injection.kind == "covariate":
            return self._shifted(row)
        if self._injection.kind == "concept":
            return self._relabelled(row)
        return self._thinned(row)

    def _shifted(self, row: StreamRow) -> StreamRow:
        request: Values = msgspec.json.decode(row.request)
        features: Values = request.get("features", {})
        value = features.get(self._feature)
        if self._numeric:
            if not isinstance(value, int | float) or isinstance(value, bool):
                return row
            features[self._feature] = value + self._shift
        elif isinstance(value, bool):
            features[self._feature] = not value
        elif self._draws.random() < RESAMPLED_SHARE and isinstance(value, str):
            features[self._feature] = self._rarest
        else:
            return row
        return row._replace(request=_json(request))

    def _relabelled(self, row: StreamRow) -> StreamRow:
        if row.label is None or not self._region(msgspec.json.decode(row.request).get("features", {})):
            return row
        label: Values = msgspec.json.decode(row.label)
        outcome = self._outcome(label)
        if outcome is None:
            return row
        if isinstance(outcome, str):
            classes = self._pipeline.classes
            label["value"] = classes[(classes.index(outcome) + 1) % len(classes)]
        else:
            label["value"] = 2 * self._outcome_mean - outcome
        return row._replace(label=_json(label))

    def _thinned(self, row: StreamRow) -> StreamRow | None:
        if row.label is None or self._outcome(msgspec.json.decode(row.label)) != self._pipeline.classes[0]:
            return row
        return row if self._draws.random() < KEPT_SHARE else None

    def _outcome(self, label: Values) -> Outcome | None:
        try:
            return check_outcome(self._pipeline, label["value"])
        except ContractError:
            return None
