"""A model's figures on labelled rows, each with an interval: what absolute floors and the model card look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from online import metrics
from penstock.events import Score
from penstock.spec import Pipeline
from retraining.dataset import Row, targets

#: Intervals hold at this level.
LEVEL = 0.95
RESAMPLES = 200
_SEED = 20_240_229

Scores: TypeAlias = NDArray[np.float64]


class Figure(msgspec.Struct, frozen=True):
    """A metric and its 95 % interval; ``low`` and ``high`` are None where it is not defined on enough resamples."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4g}"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g} at {LEVEL:.0%})"


def figures(pipeline: Pipeline, scores: Sequence[Score], rows: Sequence[Row]) -> dict[str, Figure]:
    """Every figure of the task that is defined on ``rows``, by name.

    Classification: accuracy, roc_auc, precision, recall, f1, log_loss; of the positive class (binary) or as the mean
    over the classes that happened (multiclass). Regression: r2, mae, rmse. Intervals are percentiles of 200 seeded
    bootstrap resamples of the rows (Efron 1979), which takes rows as independent.
    """
    actual = targets(pipeline, rows)
    table = as_array(pipeline, scores)
    found = _measured(pipeline, actual, table)
    rng = np.random.default_rng(_SEED)
    samples = [rng.integers(len(rows), size=len(rows)) for _ in range(RESAMPLES)]
    again = [_measured(pipeline, actual[sample], table[sample]) for sample in samples]
    return {name: _figure(value, [each[name] for each in again if name in each]) for name, value in found.items()}


def as_array(pipeline: Pipeline, scores: Sequence[Score]) -> Scores:
    """``scores`` as numbers: shape (rows,), or (rows, classes) of a multiclass task."""
    if pipeline.task == "multiclass":
        tables = [score for score in scores if isinstance(score, dict)]
        return np.array([[table.get(name, 0.0) for name in pipeline.classes] for table in tables])
    return np.array([score for score in scores if not isinstance(score, dict)], dtype=np.float64)


def decided(pipeline: Pipeline, table: Scores) -> NDArray[np.int64]:
    """The class that each row's score decides for, as its index."""
    if pipeline.task == "multiclass":
        codes: NDArray[np.int64] = table.argmax(axis=1).astype(np.int64)
        return codes
    return (table >= pipeline.threshold).astype(np.int64)


def _measured(pipeline: Pipeline, actual: NDArray[np.float64], table: Scores) -> dict[str, float]:
    if pipeline.task == "regression":
        return _of_numbers(actual, table)
    codes, answers, count = actual.astype(np.int64), decided(pipeline, table), len(pipeline.classes)
    precision, recall = _precision_recall(metrics.confusion(codes, answers, count))
    found: Mapping[str, float | None] = {
        "accuracy": metrics.accuracy(codes, answers),
        "roc_auc": metrics.roc_auc(codes, table),
        "precision": precision,
        "recall": recall,
        "f1": metrics.f1(codes, answers, count),
        "log_loss": metrics.log_loss(codes, table),
    }
    return {name: value for name, value in found.items() if value is not None}


def _precision_recall(table: NDArray[np.int64]) -> tuple[float, float]:
    """Of the positive class (two classes), or the mean over those that happened; what was never decided is 0."""
    hits, happened, answered = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    precision = np.divide(hits, answered, out=np.zeros(len(hits)), where=answered > 0)
    recall = np.divide(hits, happened, out=np.zeros(len(hits)), where=happened > 0)
    if len(hits) == 2:
        return float(precision[1]), float(recall[1])
    return float(precision[happened > 0].mean()), float(recall[happened > 0].mean())


def _of_numbers(actual: NDArray[np.float64], values: Scores) -> dict[str, float]:
    errors = values - actual
    spread = float(((actual - actual.mean()) ** 2).sum())
    found = {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt((errors**2).mean()))}
    return found if spread == 0.0 else {"r2": 1.0 - float((errors**2).sum()) / spread, **found}


def _figure(value: float, again: Sequence[float]) -> Figure:
    if len(again) < RESAMPLES // 2:
        return Figure(value, None, None)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(np.array(again), [tail, 1.0 - tail])
    return Figure(value, float(low), float(high))
