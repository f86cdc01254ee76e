"""Metrics, baselines and confidence intervals of a block of sums.

Accuracy, log loss, Brier score, balanced accuracy, kappa, F1 (and, for a regression, MAE, RMSE and R²) are exact: they
equal the functions of `online.metrics` on the same examples, but for rounding. The area under the ROC curve comes from
80 bins: pairs within a bin count half, so it is off by at most half the share of (positive, negative) pairs that
share a bin, which `roc_auc_bound` computes; on real scores the error is far below that.

What is not defined (no examples, one class only, a constant target, counts that an older record does not have) is
None; nothing is ever NaN or infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from scipy.special import ndtri

from online.blocks import Sums
from online.tally import BIN_TENTHS
from penstock.spec import Pipeline

CLASSIFICATION = (
    "accuracy",
    "balanced_accuracy",
    "kappa",
    "kappa_temporal",
    "f1",
    "roc_auc",
    "log_loss",
    "brier",
    "calibration_error",
    "no_change_accuracy",
    "majority_accuracy",
)
REGRESSION = ("mae", "rmse", "r2", "no_change_mae", "no_change_rmse", "mean_rmse")

Interval: TypeAlias = tuple[float, float]
#: Per bin of a score: how many positives and negatives are in it, lowest bin first.
Curve: TypeAlias = list[tuple[float, float]]


def measures(pipeline: Pipeline, block: Sums) -> dict[str, float | None]:
    """All metrics of the task, and its baselines on the same examples.

    ``no_change_…`` answers with the label of the previous labelled example, ``majority_accuracy`` with the class that
    happened most in the block (in hindsight), ``mean_rmse`` with the target's mean.
    """
    if pipeline.task == "regression":
        return _of_regression(block)
    no_change = _ratio(block.no_change_correct, block.no_change_n)
    accuracy = _ratio(block.correct, block.n)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": _balanced_accuracy(block),
        "kappa": _kappa(block),
        "kappa_temporal": _beyond(accuracy, no_change),
        "f1": _f1(pipeline, block),
        "roc_auc": roc_auc(pipeline, block),
        "log_loss": _ratio(block.log_loss, block.n),
        "brier": _ratio(block.brier, block.n),
        "calibration_error": _calibration_error(block),
        "no_change_accuracy": no_change,
        "majority_accuracy": _majority(block),
    }


def _of_regression(block: Sums) -> dict[str, float | None]:
    return {
        "mae": _ratio(block.absolute_error, block.n),
        "rmse": _root(_ratio(block.squared_error, block.n)),
        "r2": 1.0 - block.squared_error / block.target_squares if block.target_squares > 0.0 else None,
        "no_change_mae": _ratio(block.no_change_absolute_error, block.no_change_n),
        "no_change_rmse": _root(_ratio(block.no_change_squared_error, block.no_change_n)),
        "mean_rmse": _root(_ratio(block.target_squares, block.n)),
    }


def _ratio(total: float, n: float) -> float | None:
    return total / n if n > 0 else None


def _root(square: float | None) -> float | None:
    return None if square is None else math.sqrt(square)


def _beyond(accuracy: float | None, baseline: float | None) -> float | None:
    """(accuracy − baseline) / (1 − baseline): how much of what the baseline gets wrong is got right."""
    if accuracy is None or baseline is None or baseline >= 1.0:
        return None
    return (accuracy - baseline) / (1.0 - baseline)


def _majority(block: Sums) -> float | None:
    most = max((happened for happened, _, _ in block.class_counts.values()), default=0.0)
    return _ratio(most, block.n) if most > 0 else None


def _balanced_accuracy(block: Sums) -> float | None:
    recalls = [both / happened for happened, _, both in block.class_counts.values() if happened > 0]
    return sum(recalls) / len(recalls) if recalls else None


def _kappa(block: Sums) -> float | None:
    if not block.class_counts:
        return None
    expected = sum(happened * decided for happened, decided, _ in block.class_counts.values()) / (block.n * block.n)
    return _beyond(block.correct / block.n, expected)


def _f1(pipeline: Pipeline, block: Sums) -> float | None:
    if not block.class_counts:
        return None
    if pipeline.task == "binary":
        happened, decided, both = block.class_counts.get(pipeline.positive, (0.0, 0.0, 0.0))
        return 2.0 * both / (happened + decided) if happened + decided > 0 else 0.0
    each = [2.0 * both / (happened + decided) for happened, decided, both in block.class_counts.values()]
    return sum(each) / len(each)


def _calibration_error(block: Sums) -> float | None:
    """Expected calibration error: Σ |hits − confidence| over ten bins of equal width, by n (Guo et al., ICML 2017).

    Binary: the positive class's share and its mean probability; multiclass: accuracy and mean top probability.
    """
    if not block.confidence_bins:
        return None
    gaps = [0.0] * 10
    for index, (_, hits, confidence) in block.confidence_bins.items():
        gaps[BIN_TENTHS[index]] += hits - confidence
    return sum(map(abs, gaps)) / block.n


def _curves(pipeline: Pipeline, block: Sums) -> list[Curve]:
    if pipeline.task == "binary":
        bins: list[Mapping[int, tuple[float, ...]]] = [block.confidence_bins]
    else:
        bins = list(block.rank_bins.values())
    curves = [[(each[i][1], each[i][0] - each[i][1]) for i in sorted(each)] for each in bins]
    return [curve for curve in curves if min(_sizes(curve)) > 0]


def _sizes(curve: Curve) -> tuple[float, float]:
    return sum(positives for positives, _ in curve), sum(negatives for _, negatives in curve)


def roc_auc(pipeline: Pipeline, block: Sums) -> float | None:
    """Area under the ROC curve by bins (see the module); multiclass: mean over one-versus-rest of the classes that
    happened, None where there are more than ten classes."""
    areas = [_placements(curve)[0] for curve in _curves(pipeline, block)]
    return sum(areas) / len(areas) if areas else None


def roc_auc_bound(pipeline: Pipeline, block: Sums) -> float | None:
    """How far `roc_auc` can be from the exact area: ½ Σ positives × negatives of each bin / all pairs."""
    bounds = []
    for curve in _curves(pipeline, block):
        positives, negatives = _sizes(curve)
        bounds.append(0.5 * sum(p * q for p, q in curve) / (positives * negatives))
    return sum(bounds) / len(bounds) if bounds else None


def _placements(curve: Curve) -> tuple[float, float]:
    """The area, and its variance from the spread of the placements (DeLong et al., Biometrics 44, 1988)."""
    positives, negatives = _sizes(curve)
    below_p = below_n = area = squares_p = squares_n = 0.0
    for p, q in curve:
        beats = (below_n + 0.5 * q) / negatives  # share of negatives below these positives
        beaten = 1.0 - (below_p + 0.5 * p) / positives  # share of positives above these negatives
        area += p * beats / positives
        squares_p += p * beats * beats / positives
        squares_n += q * beaten * beaten / negatives
        below_p, below_n = below_p + p, below_n + q
    square = area * area
    return area, max(0.0, squares_p - square) / positives + max(0.0, squares_n - square) / negatives


def intervals(pipeline: Pipeline, block: Sums, level: float = 0.95) -> dict[str, Interval | None]:
    """Confidence intervals at ``level``, as if examples were independent (errors that come in runs make them wider).

    Accuracy and the no-change accuracy: Wilson (1927). Log loss, Brier score and MAE: the mean's normal interval. RMSE:
    delta method. Balanced accuracy: the recalls' binomial variances. ROC AUC: DeLong's variance, for binary.
    """
    z = float(ndtri(0.5 + 0.5 * level))
    if pipeline.task == "regression":
        return {
            "mae": _of_mean(block.absolute_error, block.squared_error, block.n, z),
            "rmse": _of_root(block.squared_error, block.quartic_error, block.n, z),
        }
    return {
        "accuracy": wilson(block.correct, block.n, z),
        "balanced_accuracy": _of_recalls(block, z),
        "roc_auc": _of_area(pipeline, block, z),
        "log_loss": _of_mean(block.log_loss, block.log_loss_squared, block.n, z),
        "brier": _of_mean(block.brier, block.brier_squared, block.n, z),
        "no_change_accuracy": wilson(block.no_change_correct, block.no_change_n, z),
    }


def wilson(hits: float, n: float, z: float) -> Interval | None:
    """Wilson's score interval of a share (JASA 22, 1927); z: the normal quantile. None without examples."""
    if not n > 0:
        return None
    share, grown = hits / n, 1.0 + z * z / n
    centre = (share + z * z / (2.0 * n)) / grown
    half = z * math.sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n)) / grown
    return max(0.0, centre - half), min(1.0, centre + half)


def _of_mean(total: float, squares: float, n: float, z: float) -> Interval | None:
    if n < 2:
        return None
    mean = total / n
    half = z * math.sqrt(max(0.0, squares / n - mean * mean) / (n - 1))
    return max(0.0, mean - half), mean + half


def _of_root(total: float, squares: float, n: float, z: float) -> Interval | None:
    """sqrt(m) ± z sd(m) / (2 sqrt(m))."""
    around = _of_mean(total, squares, n, z)
    if around is None:
        return None
    mean = total / n
    if mean == 0.0:
        return 0.0, 0.0
    half = (around[1] - mean) / (2.0 * math.sqrt(mean))
    return max(0.0, math.sqrt(mean) - half), math.sqrt(mean) + half


def _of_recalls(block: Sums, z: float) -> Interval | None:
    centre = _balanced_accuracy(block)
    if centre is None:
        return None
    recalls = [(both / happened, happened) for happened, _, both in block.class_counts.values() if happened > 0]
    half = z * math.sqrt(sum(r * (1.0 - r) / n for r, n in recalls)) / len(recalls)
    return max(0.0, centre - half), min(1.0, centre + half)


def _of_area(pipeline: Pipeline, block: Sums, z: float) -> Interval | None:
    curves = _curves(pipeline, block) if pipeline.task == "binary" else []
    if not curves:
        return None
    area, variance = _placements(curves[0])
    half = z * math.sqrt(variance)
    return max(0.0, area - half), min(1.0, area + half)
