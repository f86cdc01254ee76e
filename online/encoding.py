"""From checked features to what models read: one pass per row, shared by all members.

`Encoder.encode` never changes the encoder, so scoring is free of side effects; `Encoder.learn` does, after the members
have learned a row in the very form in which they scored it. All state is bounded: a category column holds at
most `DISTINCT` explicit values and the same number of hashed ones, whatever the stream brings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from operator import mul
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from online.scales import RobustScale
from penstock.events import Features, FeatureValue
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline

#: Where trees find a missing number: below everything that `scales.CLIP` lets through, so that one split isolates it.
MISSING = -12.0
#: Explicit values per category column; later ones share as many hashed columns.
DISTINCT = 64
#: Pseudo-rows of the overall mean in each category's mean target.
SMOOTHING = 10.0
#: Category statistics are halved at this count: they follow the stream.
CATEGORY_HORIZON = 2_000.0
#: The overall mean target fades over this many rows.
HORIZON = 10_000.0
#: Scales learn every row up to this one, and then one row in four: the estimates are as good, and scales were half of
#: what learning a row cost the encoder. Which rows is a golden-ratio sequence: every fourth one would be the same hours
#: of each day.
SCALE_ALL = 1_000
_GOLDEN = 2_654_435_769

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - dates have no zone; they are calendar days
_DATE_PARTS = ("year", "month", "weekday", "days")


class Encoded:
    """One row.

    ``numbers``: one scaled number per column of the encoder, 0 where it is missing. ``dense``: the same with `MISSING`
    there. ``active``: the indicator columns that are 1 (missing values, categories), counted from 0 on their own.
    ``shared``: what members computed from the row when they scored it, to be used again when they learn it.
    """

    __slots__ = ("_array", "_length", "active", "dense", "numbers", "shared")

    def __init__(self, numbers: list[float], dense: list[float], active: list[int]) -> None:
        self.numbers = numbers
        self.dense = dense
        self.active = active
        self.shared: dict[str, Any] = {}
        self._array: npt.NDArray[np.float64] | None = None
        self._length: float | None = None

    @property
    def array(self) -> npt.NDArray[np.float64]:
        """``dense`` as an array, made once."""
        if self._array is None:
            self._array = np.array(self.dense)
        return self._array

    @property
    def length(self) -> float:
        """Euclidean length of ``numbers`` and indicators together."""
        if self._length is None:
            self._length = math.sqrt(sum(map(mul, self.numbers, self.numbers)) + len(self.active))
        return self._length


@lru_cache(maxsize=65_536)
def _date_parts(text: str, format_: str) -> tuple[float, float, float, float]:
    date = datetime.strptime(text, format_)  # noqa: DTZ007 - dates have no zone; they are calendar days
    date = date.replace(tzinfo=None)
    days = (date - _EPOCH).total_seconds() / 86_400.0
    return float(date.year), float(date.month), float(date.weekday()), days


class CategoryColumns:
    """One categorical feature: its indicator columns and, per column, the fading mean of each target.

    Columns are counted from ``first`` on: `DISTINCT` explicit ones in the order in which values were learned, then as
    many hashed ones. ``targets`` is the number of target columns (see `Encoder`). The mean target of a category is the
    classical target encoding with additive smoothing (Micci-Barreca 2001), learned online: a row's own target is never
    in its code.
    """

    def __init__(self, first: int, targets: int) -> None:
        self.first = first
        self._columns: dict[str, int] = {}
        self._counts: dict[int, float] = {}
        self._sums: dict[int, list[float]] = {}
        self._targets = targets

    def column(self, value: str) -> int | None:
        """The column of ``value``; None for one that was never learned while explicit columns are free."""
        known = self._columns.get(value)
        if known is None and len(self._columns) >= DISTINCT:
            return self.first + DISTINCT + crc32(value.encode()) % DISTINCT
        return known

    def rates(self, column: int | None, overall: Sequence[float]) -> Sequence[float]:
        """The smoothed mean of each target in ``column``; the overall means for an unknown one."""
        sums = None if column is None else self._sums.get(column)
        if column is None or sums is None:
            return overall
        total = self._counts[column] + SMOOTHING
        return [(each + SMOOTHING * mean) / total for each, mean in zip(sums, overall, strict=True)]

    def learn(self, value: str, targets: Sequence[float]) -> None:
        """Count one row with this value."""
        column = self.column(value)
        if column is None:
            column = self._columns[value] = self.first + len(self._columns)
        sums = self._sums.get(column)
        if sums is None:
            sums = self._sums[column] = [0.0] * self._targets
            self._counts[column] = 0.0
        if self._counts[column] >= CATEGORY_HORIZON:
            self._counts[column] /= 2.0
            sums[:] = [each / 2.0 for each in sums]
        self._counts[column] += 1.0
        for index, target in enumerate(targets):
            sums[index] += target


class Encoder:
    """Online encoding of a pipeline's features.

    - A number: robustly scaled; a missing one is 0 (the running mean) with an indicator for linear models, and
      `MISSING` for trees and Bayes.
    - A date: year, month, weekday and days since 1970, each as a number.
    - A boolean: ± 1, a missing one 0 with its indicator.
    - A category: indicator columns for linear models, and the mean target per category as numbers for all. Target
      columns: binary, the positive class; multiclass, the classes after the first (at most three); regression, the
      scaled target. A missing category is a category of its own.

    Columns are numbered once: numbers in ``columns``, indicators (features, then categories) up to ``indicators``.
    """

    def __init__(self, pipeline: Pipeline, targets: int) -> None:
        """``targets``: how many numbers `learn` is given per row."""
        self._numbers: list[tuple[int, str, RobustScale]] = []
        self._dates: list[tuple[int, str, str, tuple[RobustScale, ...]]] = []
        self._booleans: list[tuple[int, str]] = []
        self._categories: list[tuple[str, CategoryColumns, tuple[RobustScale, ...]]] = []
        first = len(pipeline.features)
        for index, feature in enumerate(pipeline.features):
            match feature:
                case Numeric(name=name):
                    self._numbers.append((index, name, RobustScale()))
                case Boolean(name=name):
                    self._booleans.append((index, name))
                case Date(name=name, format=format_):
                    self._dates.append((index, name, format_, tuple(RobustScale() for _ in _DATE_PARTS)))
                case Categorical(name=name):
                    scales = tuple(RobustScale() for _ in range(targets))
                    self._categories.append((name, CategoryColumns(first, targets), scales))
                    first += 2 * DISTINCT
        #: The names of the numbers in every row.
        self.columns = (
            *(name for _, name, _ in self._numbers),
            *(name for _, name in self._booleans),
            *(f"{name}.{part}" for _, name, _, _ in self._dates for part in _DATE_PARTS),
            *(f"{name}~{target}" for name, _, _ in self._categories for target in range(targets)),
        )
        #: How many indicator columns there can be.
        self.indicators = first
        self._overall = [0.0] * targets
        self._rows = 0

    def encode(self, features: Features) -> Encoded:
        """The row as models read it. Changes nothing."""
        numbers: list[float] = []
        active: list[int] = []
        gaps: list[int] = []
        for index, name, scale in self._numbers:
            value = features[name]
            if value is None:
                gaps.append(len(numbers))
                active.append(index)
                numbers.append(0.0)
            else:
                numbers.append(scale.standardise(float(value)))
        for index, name in self._booleans:
            value = features[name]
            if value is None:
                active.append(index)
            numbers.append(0.0 if value is None else 1.0 if value else -1.0)
        for index, name, format_, scales in self._dates:
            value = features[name]
            if value is None:
                gaps.extend(range(len(numbers), len(numbers) + len(scales)))
                active.append(index)
                numbers.extend([0.0] * len(scales))
            else:
                numbers.extend(map(RobustScale.standardise, scales, _date_parts(str(value), format_)))
        for name, columns, scales in self._categories:
            column = columns.column(_category(features[name]))
            if column is not None:
                active.append(column)
            numbers.extend(map(RobustScale.standardise, scales, columns.rates(column, self._overall)))
        dense = numbers
        if gaps:
            dense = numbers.copy()
            for gap in gaps:
                dense[gap] = MISSING
        return Encoded(numbers, dense, active)

    def learn(self, features: Features, targets: Sequence[float]) -> None:
        """Take one labelled row into the scales and the category statistics."""
        scaling = self._rows < SCALE_ALL or self._rows * _GOLDEN % 2**32 < 2**30
        if scaling:
            self._learn_scales(features)
        for name, columns, scales in self._categories:
            text = _category(features[name])
            if scaling:
                rates = columns.rates(columns.column(text), self._overall)
                for scale, rate in zip(scales, rates, strict=True):
                    scale.update(rate)
            columns.learn(text, targets)
        self._rows += 1
        weight = 1.0 / min(self._rows, HORIZON)
        for index, target in enumerate(targets):
            self._overall[index] += (target - self._overall[index]) * weight

    def _learn_scales(self, features: Features) -> None:
        for _, name, scale in self._numbers:
            value = features[name]
            if value is not None:
                scale.update(float(value))
        for _, name, format_, scales in self._dates:
            value = features[name]
            if value is not None:
                for scale, number in zip(scales, _date_parts(str(value), format_), strict=True):
                    scale.update(number)


def _category(value: FeatureValue) -> str:
    # "\0" cannot be a value that a person typed: a missing category has its own column.
    return "\0" if value is None else str(value)
