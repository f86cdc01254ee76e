"""The rows of a fit as matrices, cut in time order: every fold is scored by what was fitted on the rows before it.

Expanding windows (Hyndman and Athanasopoulos 2021, section 5.10): with 10 rows and 3 folds, rows 1–4 → 5–6, 1–6 → 7–8,
1–8 → 9–10. An encoding is learned on the rows that its model is fitted on, never on those that it scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.batch import BatchModel
from online.tabular import Encoding, Matrix, Style, learn_encoding
from penstock.spec import Pipeline
from retraining.dataset import Row, targets
from retraining.families import Settings, estimator

FOLDS = 3
#: The oldest share of the rows, which is never scored.
FIRST_SHARE = 0.4


class Cut(NamedTuple):
    """Rows as a matrix of one style: fitted on the first ``fitted`` of them, scored on the rest."""

    encoding: Encoding
    matrix: Matrix
    fitted: int


class Training(NamedTuple):
    """What all tasks of a fit share. ``cuts``: per style, the folds in time order and, last, all rows (none scored)."""

    pipeline: Pipeline
    target: NDArray[np.float64]
    cuts: dict[Style, tuple[Cut, ...]]


class Fitting(NamedTuple):
    """One estimator to be fitted: a family with settings, on the cut with this index."""

    family: str
    style: Style
    settings: Settings
    cut: int


class Fitted(NamedTuple):
    """An estimator and what it says of its cut's later rows (rows × classes, or × 1)."""

    encoding: Encoding
    estimator: Any
    held: Matrix


def training_of(pipeline: Pipeline, rows: Sequence[Row], styles: Sequence[Style]) -> Training:
    """Encode ``rows`` (in time order). Folds whose earlier rows are of one class are left out."""
    target = targets(pipeline, rows)
    bounds = [round(len(rows) * (FIRST_SHARE + (1.0 - FIRST_SHARE) * at / FOLDS)) for at in range(FOLDS + 1)]
    spans = [(start, stop) for start, stop in pairwise(bounds) if _learnable(target, start, stop)]
    cuts = {
        style: tuple(_cut(pipeline, rows[:stop], target, style, start) for start, stop in [*spans, (len(rows),) * 2])
        for style in styles
    }
    return Training(pipeline, target, cuts)


def _learnable(target: NDArray[np.float64], start: int, stop: int) -> bool:
    return start < stop and len(np.unique(target[:start])) > 1


def _cut(pipeline: Pipeline, rows: Sequence[Row], target: NDArray[np.float64], style: Style, fitted: int) -> Cut:
    features = [row.features for row in rows]
    encoding = learn_encoding(pipeline, features[:fitted], target[:fitted], style)
    return Cut(encoding, encoding.matrix(pipeline, features), fitted)


def fit_one(training: Training, task: Fitting) -> Fitted:
    """Fit and score; a pure function of what can be pickled."""
    pipeline, cut = training.pipeline, training.cuts[task.style][task.cut]
    target = training.target[: cut.fitted]
    wanted = target if pipeline.task == "regression" else target.astype(np.int64)
    made = estimator(pipeline, task.family, task.settings, cut.fitted).fit(cut.matrix[: cut.fitted], wanted)
    rest = cut.matrix[cut.fitted :]
    held = BatchModel(pipeline, cut.encoding, made).table_of(rest) if len(rest) else np.zeros((0, 1))
    return Fitted(cut.encoding, made, held)


def score_fold(training: Training, task: Fitting) -> Matrix:
    """What `fit_one` says of the later rows, without the model: less has to travel."""
    return fit_one(training, task).held
