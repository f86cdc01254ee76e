"""What the simplest answers reach on a table: the most frequent one, and the last label. Floors of the gates."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from penstock.spec import Gates
from producers.no_change import NoChange
from producers.sample import Sample
from producers.target import Target, class_name
from producers.values import parse_number

#: Where one answer is right more often than this, accuracy tells little of a model: no floor is set on it.
TELLING_ACCURACY = 0.9
_DIGITS = 4


def floors(sample: Sample, name: str, target: Target) -> tuple[Gates, str]:
    """Gates that a model passes only by being better than both baselines, and what the user should know of them.

    ``name`` is the target's column.
    """
    if target.task == "regression":
        numbers = [parse_number(text, sample.decimal_comma) for text in sample.texts(name)]
        return _of_numbers([number for number in numbers if number is not None], sample.no_change)
    majority, last = _majority(sample, target), sample.no_change.accuracy
    better = max(majority, last)
    said = f"the most frequent class is right in {majority:.1%}, the label of the row before in {last:.1%}"
    # A constant answer ranks nothing: its ROC AUC is 0.5.
    if better > TELLING_ACCURACY:
        return Gates(min_roc_auc=0.5), f"{said}: too often for a floor on accuracy, so there is one on ROC AUC"
    return Gates(min_accuracy=round(better, _DIGITS), min_roc_auc=0.5), f"{said}: floors of the gates"


def _majority(sample: Sample, target: Target) -> float:
    classes: Counter[str] = Counter()
    for text, count in sample.target_counts.items():
        number = parse_number(text, sample.decimal_comma)
        classes[text if text in target.classes or number is None else class_name(number)] += count
    held = [classes[name] for name in target.classes]
    return max(held) / sum(held)


def _of_numbers(values: list[float], no_change: NoChange) -> tuple[Gates, str]:
    # The median is the constant with the least mean distance.
    with np.errstate(over="ignore"):  # values of 1e308 have no finite mean distance, and so set no ceiling
        spread = float(np.abs(np.array(values) - np.median(values)).mean())
    last = no_change.mae
    known = [error for error in (spread, last) if error and math.isfinite(error)]
    if not known:
        return Gates(min_r2=0.0), "neither baseline is ever off: there is no floor but that of R²"
    before = "" if last is None else f", the value of the row before by {last:.4g}"
    said = f"the median is off by {spread:.4g} on average{before}: floors of the gates"
    return Gates(min_r2=0.0, max_mae=float(f"{min(known):.{_DIGITS}g}")), said
