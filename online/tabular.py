"""From rows of features to a matrix for batch estimators, with all that was learned about them kept as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.events import Features, FeatureValue
from penstock.spec import Boolean, Categorical, Date, Pipeline

Matrix: TypeAlias = NDArray[np.float64]
Style: TypeAlias = Literal["ordinal", "scaled"]

DATE_PARTS = 4
#: Rarer categories than these many share the code of an unseen one.
MAX_CATEGORIES = 200
MAX_ONE_HOT = 30
#: Forests compare in single precision, whose largest number is 3.4e38.
LARGEST = 1e30
#: A scaled value beyond this many standard deviations says no more than this many.
MAX_DEVIATIONS = 8.0
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - dates have no zone; they are calendar days


class Encoding(msgspec.Struct, frozen=True):
    """What encoding learned from the training rows.

    ``ordinal`` (for trees): one column per number, category or date part; a category's code is its rank by mean target,
    which makes the best binary split of categories a threshold (Fisher 1958; Breiman et al. 1984, section 4.2.2);
    missing and unseen values are NaN. ``scaled`` (for linear models): categories one-hot, then every column is
    standardised with ``center`` and ``scale``; a missing value is the mean, an unseen category all zeros.
    """

    style: Style
    categories: dict[str, list[str]]
    center: list[float] = []
    scale: list[float] = []

    def matrix(self, pipeline: Pipeline, rows: Sequence[Features]) -> Matrix:
        """``rows`` as a matrix (len(rows) × columns)."""
        raw = np.array([self._cells(pipeline, row) for row in rows], dtype=np.float64)
        raw = raw.reshape(len(rows), -1)
        np.clip(raw, -LARGEST, LARGEST, out=raw)
        if self.style == "ordinal" or not self.center:
            return raw
        scaled = (raw - np.array(self.center)) / np.array(self.scale)
        scaled[np.isnan(scaled)] = 0.0
        clipped: Matrix = np.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        return clipped

    def _cells(self, pipeline: Pipeline, row: Features) -> list[float]:
        cells: list[float] = []
        for feature in pipeline.features:
            value = row[feature.name]
            if isinstance(feature, Categorical):
                known = self.categories[feature.name]
                if self.style == "scaled":
                    cells.extend(1.0 if value == name else 0.0 for name in known)
                else:
                    cells.append(_code(known, value))
            elif isinstance(feature, Date):
                cells.extend(_date_parts(value, feature.format) if isinstance(value, str) else [math.nan] * DATE_PARTS)
            elif isinstance(feature, Boolean):
                cells.append(math.nan if value is None else float(bool(value)))
            else:
                cells.append(math.nan if value is None else float(value))
        return cells


def _code(known: list[str], value: FeatureValue) -> float:
    try:
        return float(known.index(value))  # type: ignore[arg-type]  # None is never in the list
    except ValueError:
        return math.nan


@lru_cache(maxsize=65_536)
def _date_parts(text: str, format_: str) -> tuple[float, ...]:
    day = datetime.strptime(text, format_).replace(tzinfo=None)  # noqa: DTZ007 - calendar days
    return (float(day.year), float(day.month), float(day.weekday()), (day - _EPOCH).total_seconds() / 86_400.0)


def learn_encoding(pipeline: Pipeline, rows: Sequence[Features], target: Matrix, style: Style) -> Encoding:
    """The encoding of ``style`` for ``rows``, whose targets (numbers, class indices) are ``target``."""
    categories: dict[str, list[str]] = {}
    for feature in pipeline.features:
        if isinstance(feature, Categorical):
            ranked = _ranked([row[feature.name] for row in rows], target)
            if style == "scaled":
                ranked = _most_frequent(ranked, [row[feature.name] for row in rows], MAX_ONE_HOT)
            categories[feature.name] = ranked
    encoding = Encoding(style, categories)
    if style == "ordinal":
        return encoding
    matrix = encoding.matrix(pipeline, rows)
    known = ~np.isnan(matrix)
    counts = np.maximum(known.sum(axis=0), 1)
    center = np.where(known, matrix, 0.0).sum(axis=0) / counts
    spread = np.sqrt((np.where(known, matrix - center, 0.0) ** 2).sum(axis=0) / counts)
    # A column that never moved is left at zero, whatever comes later: its weight would be a guess.
    return Encoding(style, categories, center.tolist(), np.where(spread > 0.0, spread, LARGEST).tolist())


def _ranked(values: Sequence[FeatureValue], target: Matrix) -> list[str]:
    sums: dict[str, tuple[float, int]] = {}
    for value, wanted in zip(values, target.tolist(), strict=True):
        if isinstance(value, str):
            total, count = sums.get(value, (0.0, 0))
            sums[value] = (total + wanted, count + 1)
    kept = sorted(sums, key=lambda name: (-sums[name][1], name))[:MAX_CATEGORIES]
    return sorted(kept, key=lambda name: (sums[name][0] / sums[name][1], name))


def _most_frequent(known: list[str], values: Sequence[FeatureValue], most: int) -> list[str]:
    counts = dict.fromkeys(known, 0)
    for value in values:
        if isinstance(value, str) and value in counts:
            counts[value] += 1
    return sorted(sorted(known, key=lambda name: (-counts[name], name))[:most])
