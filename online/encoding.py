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
from statistics import median
from typing import NamedTuple
from zlib import crc32

from penstock.events import Features, FeatureValue
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline

#: Values beyond this many spreads from the mean are cut: one outlier of 1e9 must not move a linear model.
CLIP = 10.0
#: Values beyond this many spreads count as if they were there when a spread is learned: with a share ε of outliers the
#: variance stays below 1 / (1 − 25 ε) times its true value.
WINSOR = 5.0
#: Where trees find a missing number: below everything that `CLIP` lets through, so that one split isolates it.
MISSING = -12.0
#: Running means fade over this many rows, so that they follow a stream that moves for years.
HORIZON = 10_000
#: A scale is taken from the median and the median deviation of this many first values.
WARM_UP = 30
#: Explicit values per category column; later ones share as many hashed columns.
DISTINCT = 64
#: Pseudo-rows of the overall mean in each category's mean target.
SMOOTHING = 10.0
#: Category statistics are halved at this count: they follow the stream.
CATEGORY_HORIZON = 2_000.0

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - dates have no zone; they are calendar days
_DATE_PARTS = ("year", "month", "weekday", "days")
#: MAD × 1.4826 estimates the standard deviation of a Gaussian.
_MAD_TO_SD = 1.4826


class Encoded(NamedTuple):
    """One row. ``linear``: sparse, scaled numbers and one-hot categories, of Euclidean length ``length``.

    ``dense``: scaled numbers under the same keys in every row.
    """

    linear: dict[str, float]
    dense: dict[str, float]
    length: float


@lru_cache(maxsize=65_536)
def _date_parts(text: str, format_: str) -> tuple[float, float, float, float]:
    date = datetime.strptime(text, format_)  # noqa: DTZ007 - dates have no zone; they are calendar days
    date = date.replace(tzinfo=None)
    days = (date - _EPOCH).total_seconds() / 86_400.0
    return float(date.year), float(date.month), float(date.weekday()), days


class RobustScale:
    """Running mean and spread of one number, hard to move by outliers.

    The first `WARM_UP` values are kept and winsorised at median ± `WINSOR` × 1.4826 × MAD (where the MAD is 0, as in
    columns that are mostly one value, not at all). Later values are winsorised at mean ± `WINSOR` × spread before they
    count, with weight 1/n down to 1/`HORIZON`; so a slow change of scale is followed and an outlier
    is not. `WARM_UP` such values in a row are no outliers but another unit or a new regime: the scale starts afresh.
    """

    __slots__ = ("_first", "_outside", "count", "mean", "spread", "variance")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.variance = 0.0
        self.spread = 0.0
        self._first: list[float] | None = []
        self._outside = 0

    def standardise(self, value: float) -> float:
        """``value`` in spreads from the mean, cut at ± `CLIP`; 0 while all values were equal."""
        if self.spread <= 0.0:
            return 0.0
        z = (value - self.mean) / self.spread
        return CLIP if z > CLIP else -CLIP if z < -CLIP else z

    def update(self, value: float) -> None:
        """Count one finite ``value``."""
        self.count += 1
        if self._first is not None:
            self._warm_up(self._first, value)
            return
        deviation = value - self.mean
        limit = WINSOR * self.spread
        if -limit <= deviation <= limit:
            self._outside = 0
        else:
            self._outside += 1
            if self._outside >= WARM_UP:
                self.count, self._outside, self._first = 1, 0, []
                self._warm_up(self._first, value)
                return
            if limit > 0.0:
                deviation = math.copysign(limit, deviation)
        rate = 1.0 / self.count if self.count < HORIZON else 1.0 / HORIZON
        self.mean += rate * deviation
        self.variance = (1.0 - rate) * (self.variance + rate * deviation * deviation)
        self.spread = math.sqrt(self.variance)

    def _warm_up(self, first: list[float], value: float) -> None:
        first.append(value)
        centre = median(first)
        limit = WINSOR * _MAD_TO_SD * median([abs(each - centre) for each in first])
        kept = [min(max(each, centre - limit), centre + limit) for each in first] if limit > 0.0 else first
        self.mean = math.fsum(kept) / len(kept)
        self.variance = math.fsum((each - self.mean) ** 2 for each in kept) / len(kept)
        self.spread = math.sqrt(self.variance)
        if len(first) >= WARM_UP:
            self._first = None


class CategoryColumns:
    """One categorical feature: its one-hot columns and, per column, the fading mean of each target.

    ``targets`` is the number of target columns (see `Encoder`). The mean target of a category is the classical target
    encoding with additive smoothing (Micci-Barreca 2001), learned online: a row's own target is never in its code.
    """

    def __init__(self, name: str, targets: int) -> None:
        self.name = name
        self._columns: dict[str, str] = {}
        self._counts: dict[str, float] = {}
        self._sums: dict[str, list[float]] = {}
        self._targets = targets

    def column(self, value: str) -> str | None:
        """The one-hot column of ``value``; None for one that was never learned while columns are free."""
        known = self._columns.get(value)
        if known is None and len(self._columns) >= DISTINCT:
            return f"{self.name}#{crc32(value.encode()) % DISTINCT}"
        return known

    def rates(self, column: str | None, overall: Sequence[float]) -> list[float]:
        """The smoothed mean of each target in ``column``; the overall means for an unknown one."""
        sums = None if column is None else self._sums.get(column)
        if column is None or sums is None:
            return list(overall)
        total = self._counts[column] + SMOOTHING
        return [(each + SMOOTHING * mean) / total for each, mean in zip(sums, overall, strict=True)]

    def learn(self, value: str, targets: Sequence[float]) -> None:
        """Count one row with this value."""
        column = self.column(value)
        if column is None:
            column = self._columns[value] = f"{self.name}={value}"
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

    - A number: robustly scaled; a missing one is 0 (the running mean) and ``<name>__missing`` for linear models, and
      `MISSING` for trees and Bayes.
    - A date: year, month, weekday and days since 1970, each as a number.
    - A boolean: ± 1, a missing one 0 with its indicator.
    - A category: one-hot columns for linear models, and the mean target per category as numbers for all. Target
      columns: binary, the positive class; multiclass, the classes after the first (at most three); regression, the
      scaled target. A missing category is a category of its own.

    Dense rows have the same keys in the same order always.
    """

    def __init__(self, pipeline: Pipeline, targets: int) -> None:
        """``targets``: how many numbers `learn` is given per row."""
        self._numbers: list[tuple[str, str, RobustScale]] = []
        self._booleans: list[tuple[str, str]] = []
        self._dates: list[tuple[str, str, str]] = []
        self._categories: list[CategoryColumns] = []
        for feature in pipeline.features:
            match feature:
                case Numeric(name=name):
                    self._numbers.append((name, f"{name}__missing", RobustScale()))
                case Boolean(name=name):
                    self._booleans.append((name, f"{name}__missing"))
                case Date(name=name, format=format_):
                    self._dates.append((name, format_, f"{name}__missing"))
                case Categorical(name=name):
                    self._categories.append(CategoryColumns(name, targets))
        self._scales: dict[str, RobustScale] = {}
        for name, _, _ in self._dates:
            self._scales.update({f"{name}.{part}": RobustScale() for part in _DATE_PARTS})
        self._rate_keys = {c.name: tuple(f"{c.name}~{i}" for i in range(targets)) for c in self._categories}
        self._scales.update({key: RobustScale() for keys in self._rate_keys.values() for key in keys})
        self._overall = [0.0] * targets
        self._rows = 0.0
        #: How many keys every dense row has.
        self.width = len(self.encode(dict.fromkeys(feature.name for feature in pipeline.features)).dense)

    def encode(self, features: Features) -> Encoded:
        """The row as models read it. Changes nothing."""
        linear: dict[str, float] = {}
        dense: dict[str, float] = {}
        scales = self._scales
        for name, missing, scale in self._numbers:
            value = features[name]
            if value is None:
                linear[missing] = 1.0
                dense[name] = MISSING
            else:
                linear[name] = dense[name] = scale.standardise(float(value))
        for name, missing in self._booleans:
            value = features[name]
            if value is None:
                linear[missing] = 1.0
                dense[name] = 0.0
            else:
                linear[name] = dense[name] = 1.0 if value else -1.0
        if self._dates:
            self._encode_dates(features, linear, dense)
        for columns in self._categories:
            column = columns.column(_category(features[columns.name]))
            if column is not None:
                linear[column] = 1.0
            for key, rate in zip(self._rate_keys[columns.name], columns.rates(column, self._overall), strict=True):
                linear[key] = dense[key] = scales[key].standardise(rate)
        return Encoded(linear, dense, math.hypot(*linear.values()))

    def _encode_dates(self, features: Features, linear: dict[str, float], dense: dict[str, float]) -> None:
        for name, format_, missing in self._dates:
            value = features[name]
            if value is None:
                linear[missing] = 1.0
                for part in _DATE_PARTS:
                    dense[f"{name}.{part}"] = MISSING
            else:
                for part, number in zip(_DATE_PARTS, _date_parts(str(value), format_), strict=True):
                    key = f"{name}.{part}"
                    linear[key] = dense[key] = self._scales[key].standardise(number)

    def learn(self, features: Features, targets: Sequence[float]) -> None:
        """Take one labelled row into the scales and the category statistics."""
        scales = self._scales
        for name, _, scale in self._numbers:
            value = features[name]
            if value is not None:
                scale.update(float(value))
        for name, format_, _ in self._dates:
            value = features[name]
            if value is not None:
                for part, number in zip(_DATE_PARTS, _date_parts(str(value), format_), strict=True):
                    scales[f"{name}.{part}"].update(number)
        for columns in self._categories:
            text = _category(features[columns.name])
            rates = columns.rates(columns.column(text), self._overall)
            for key, rate in zip(self._rate_keys[columns.name], rates, strict=True):
                scales[key].update(rate)
            columns.learn(text, targets)
        self._rows = min(self._rows + 1.0, float(HORIZON))
        for index, target in enumerate(targets):
            self._overall[index] += (target - self._overall[index]) / self._rows


def _category(value: FeatureValue) -> str:
    # "\0" cannot be a value that a person typed: a missing category has its own column.
    return "\0" if value is None else str(value)
