"""Metrics of scores against outcomes, exact, on arrays: for reports. Of mergeable sums: `online.evaluation`.

Log loss is in nats; probabilities are clipped to [1e-6, 1 − 1e-6] in both, so that one confident error costs at
most 13.8 and the metric of a block equals the function on the same rows. The Brier score is the mean squared difference
of the positive class's probability (binary), or of all classes' summed (multiclass; Brier 1950).

Functions on arrays take class codes 0 … K − 1 and return None where the metric is not defined (no rows, or one class
only); they never return NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from online.blend import PROBABILITY_FLOOR
from online.tally import BIN_EDGES, BIN_TENTHS
from penstock.events import Outcome, Score
from penstock.spec import Pipeline

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def accuracy(actual: Codes, decided: Codes) -> float | None:
    """Share of decisions that were right."""
    return float(np.mean(actual == decided)) if len(actual) else None


def confusion(actual: Codes, decided: Codes, classes: int) -> Codes:
    """Counts, shape (classes, classes): row = what happened, column = what was decided."""
    counts = np.bincount(actual * classes + decided, minlength=classes * classes)
    result: Codes = counts.reshape(classes, classes).astype(np.int64)
    return result


def balanced_accuracy(actual: Codes, decided: Codes, classes: int) -> float | None:
    """Mean recall over the classes that happened."""
    if not len(actual):
        return None
    table = confusion(actual, decided, classes)
    happened = table.sum(axis=1) > 0
    return float(np.mean(table.diagonal()[happened] / table.sum(axis=1)[happened]))


def kappa(actual: Codes, decided: Codes, classes: int) -> float | None:
    """Cohen's kappa: (observed − expected agreement) / (1 − expected). None where chance alone must agree."""
    if not len(actual):
        return None
    table = confusion(actual, decided, classes)
    total = float(len(actual))
    expected = float(table.sum(axis=1) @ table.sum(axis=0)) / (total * total)
    if expected >= 1.0:
        return None
    return (float(table.diagonal().sum()) / total - expected) / (1.0 - expected)


def kappa_temporal(accuracy: float | None, no_change: float | None) -> float | None:
    """(accuracy − no-change accuracy) / (1 − no-change accuracy); below 0 the last label is the better answer.

    Žliobaitė, Bifet, Read, Pfahringer & Holmes (Machine Learning 98, 2015). None where no change is always right.
    """
    if accuracy is None or no_change is None or no_change >= 1.0:
        return None
    return (accuracy - no_change) / (1.0 - no_change)


def f1(actual: Codes, decided: Codes, classes: int) -> float | None:
    """F1 of the positive class (two classes), or the mean over classes that happened or were decided. 0/0 is 0."""
    if not len(actual):
        return None
    table = confusion(actual, decided, classes)
    doubled = 2.0 * table.diagonal()
    total = (table.sum(axis=0) + table.sum(axis=1)).astype(np.float64)
    each = np.divide(doubled, total, out=np.zeros(classes), where=total > 0)
    return float(each[1]) if classes == 2 else float(np.mean(each[total > 0]))


def roc_auc(actual: Codes, probabilities: Floats) -> float | None:
    """Area under the ROC curve by ranks, ties counting half (Mann-Whitney).

    ``probabilities``: shape (n,) of the positive class, or (n, classes): then the mean over one-versus-rest, of the
    classes that happened. None where only one class happened.
    """
    if probabilities.ndim == 1:
        return _auc(actual == 1, probabilities)
    areas = [_auc(actual == code, probabilities[:, code]) for code in range(probabilities.shape[1])]
    defined = [area for area in areas if area is not None]
    return float(np.mean(defined)) if defined else None


def _auc(happened: npt.NDArray[np.bool_], scores: Floats) -> float | None:
    positives = int(happened.sum())
    negatives = len(happened) - positives
    if not positives or not negatives:
        return None
    ranks = rankdata(scores)
    return float((ranks[happened].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def log_loss(actual: Codes, probabilities: Floats) -> float | None:
    """Mean −log p(what happened), p clipped to [1e-6, 1 − 1e-6]. ``probabilities`` as in `roc_auc`."""
    if not len(actual):
        return None
    if probabilities.ndim == 1:
        chosen = np.where(actual == 1, probabilities, 1.0 - probabilities)
    else:
        chosen = probabilities[np.arange(len(actual)), actual]
    return float(-np.mean(np.log(np.clip(chosen, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR))))


def brier(actual: Codes, probabilities: Floats) -> float | None:
    """Brier score (see the module's text). ``probabilities`` as in `roc_auc`."""
    if not len(actual):
        return None
    if probabilities.ndim == 1:
        return float(np.mean((probabilities - (actual == 1)) ** 2))
    happened = np.eye(probabilities.shape[1])[actual]
    return float(np.mean(((probabilities - happened) ** 2).sum(axis=1)))


def calibration_error(actual: Codes, probabilities: Floats) -> float | None:
    """Expected calibration error over ten bins of equal width (Guo et al., ICML 2017).

    Binary: |share of positives − mean probability| per bin, by its size; multiclass: of the most probable class.
    ``probabilities`` as in `roc_auc`.
    """
    if not len(actual):
        return None
    if probabilities.ndim == 1:
        confidence, hits = probabilities, actual == 1
    else:
        top = probabilities.argmax(axis=1)
        confidence, hits = probabilities[np.arange(len(actual)), top], top == actual
    tenths = np.array(BIN_TENTHS)[np.searchsorted(BIN_EDGES, confidence, side="right")]
    gaps = np.bincount(tenths, weights=hits - confidence, minlength=10)
    return float(np.abs(gaps).sum() / len(actual))


def mae(actual: Floats, predicted: Floats) -> float | None:
    """Mean absolute error."""
    return float(np.mean(np.abs(actual - predicted))) if len(actual) else None


def rmse(actual: Floats, predicted: Floats) -> float | None:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((actual - predicted) ** 2))) if len(actual) else None


def r2(actual: Floats, predicted: Floats) -> float | None:
    """1 − residual / total sum of squares. None where the target does not vary."""
    if not len(actual):
        return None
    total = float(np.sum((actual - actual.mean()) ** 2))
    return 1.0 - float(np.sum((actual - predicted) ** 2)) / total if total > 0.0 else None


def code_of(pipeline: Pipeline, outcomes: Sequence[Outcome]) -> Codes:
    """Class names as codes in the pipeline's order, shape (n,)."""
    codes = {name: code for code, name in enumerate(pipeline.classes)}
    return np.array([codes[str(outcome)] for outcome in outcomes], dtype=np.int64)


def probabilities_of(pipeline: Pipeline, scores: Sequence[Score]) -> Floats:
    """Scores as an array: shape (n,) for binary and regression, (n, classes) for multiclass."""
    rows = [[score[name] for name in pipeline.classes] if isinstance(score, dict) else score for score in scores]
    width = (len(rows), len(pipeline.classes)) if pipeline.task == "multiclass" else (len(rows),)
    return np.array(rows, dtype=np.float64).reshape(width)
