"""What the simplest answers reach on a table: the most frequent one, and the last label. Floors of the gates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from penstock.spec import Gates
from producers.target import Target, class_name
from producers.values import parse_number

#: Where one answer is right more often than this, accuracy tells little of a model: no floor is set on it.
TELLING_ACCURACY = 0.9
_DIGITS = 4


class NoChange:
    """How well the label of the row before answers, over all labels in file order."""

    def __init__(self, decimal_comma: bool) -> None:
        self._decimal_comma = decimal_comma
        self._before: tuple[str, float | None] | None = None
        self.pairs = self._same = self._numbers = 0
        self._apart = 0.0

    def add(self, text: str) -> None:
        """The next label."""
        number = parse_number(text, self._decimal_comma)
        if self._before is not None:
            last, last_number = self._before
            self.pairs += 1
            if number is None or last_number is None:
                self._same += text == last
            else:
                self._same += number == last_number
                self._numbers += 1
                self._apart += abs(number - last_number)
        self._before = (text, number)

    @property
    def accuracy(self) -> float:
        """Share of labels that equal the one before."""
        return self._same / self.pairs if self.pairs else 0.0

    @property
    def mae(self) -> float | None:
        """Mean distance of a number from the one before; None where there are none."""
        return self._apart / self._numbers if self._numbers else None


def floors(target: Target, counts: Mapping[str, int], no_change: NoChange) -> tuple[Gates, str]:
    """Gates that a model passes only by being better than both baselines, and what the user should know of them.

    ``counts``: of each value of the target, as text (of a thousand values at most, the rest under one of them).
    """
    if target.task == "regression":
        return _of_numbers(counts, no_change)
    majority = _majority(target, counts)
    better = max(majority, no_change.accuracy)
    said = f"the most frequent class is right in {majority:.1%}, the label before in {no_change.accuracy:.1%}"
    # A constant answer ranks nothing: its ROC AUC is 0.5.
    if better > TELLING_ACCURACY:
        return Gates(min_roc_auc=0.5), f"{said}: too often for a floor on accuracy, so one is set on ROC AUC"
    return Gates(min_accuracy=round(better, _DIGITS), min_roc_auc=0.5), f"{said}: floors of the gates"


def _majority(target: Target, counts: Mapping[str, int]) -> float:
    classes: Counter[str] = Counter()
    for text, count in counts.items():
        number = parse_number(text, decimal_comma=False)
        classes[text if text in target.classes or number is None else class_name(number)] += count
    total = sum(classes[name] for name in target.classes)
    return max((classes[name] for name in target.classes), default=0) / total if total else 0.0


def _of_numbers(counts: Mapping[str, int], no_change: NoChange) -> tuple[Gates, str]:
    spread = _median_distance(counts)
    known = [error for error in (spread, no_change.mae) if error]
    if not known:
        return Gates(min_r2=0.0), "neither baseline has an error to be below: only a floor on R² is set"
    least = float(f"{min(known):.{_DIGITS}g}")
    last = "" if no_change.mae is None else f", the label before is off by {no_change.mae:.4g}"
    said = f"the median is off by {spread:.4g} on average{last}: floors of the gates"
    return Gates(min_r2=0.0, max_mae=least), said


def _median_distance(counts: Mapping[str, int]) -> float:
    """Mean distance from the median: the least that a constant answer can reach."""
    numbers = sorted(
        (number, count) for text, count in counts.items() if (number := parse_number(text, False)) is not None
    )
    total, seen, median = sum(count for _, count in numbers), 0, 0.0
    for number, count in numbers:
        seen += count
        median = number
        if 2 * seen >= total:
            break
    return sum(count * abs(number - median) for number, count in numbers) / total if total else 0.0
