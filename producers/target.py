"""What a target column asks for: two classes, several, or a number."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import UsageError
from penstock.spec import Task
from producers.columns import PARSED_SHARE
from producers.sample import Sample
from producers.values import parse_number

MOST_CLASSES = 20
POSITIVE_WORDS = ("1", "true", "yes")


@dataclass(frozen=True, slots=True)
class Target:
    """The task, its classes (binary: negative, positive), and what the user should know."""

    task: Task
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def infer_target(sample: Sample, target: str) -> Target:
    """Two values: binary (positive: 1, true or yes, else the last by order); at most 20 whole numbers or texts:
    multiclass; else numbers: regression. Where 98 % of the values are numbers, the others are bad values.

    Raises:
        UsageError: fewer than two values, or more texts than classes can be.
    """
    numbers = {text: parse_number(text, sample.decimal_comma) for text in sample.target_counts}
    total = sum(sample.target_counts.values())
    if total == 0:
        raise UsageError(f"{sample.path}: the target {target!r} has no value in any row")
    numeric = sum(count for text, count in sample.target_counts.items() if numbers[text] is not None)
    notes = []
    if numeric >= PARSED_SHARE * total:
        if numeric < total:
            notes.append(
                f"{total - numeric} values of the target {target} are no numbers: these labels become dead letters"
            )
        values = {number for number in numbers.values() if number is not None}
        integers = all(number.is_integer() for number in values)
        names = [class_name(number) for number in sorted(values)]
    else:
        integers = True
        names = sorted(sample.target_counts)
    if len(names) == 1:
        raise UsageError(f"{sample.path}: the target {target!r} has only one value, {names[0]!r}: nothing to learn")
    if len(names) == 2:
        positive = next((name for name in names if name.casefold() in POSITIVE_WORDS), names[-1])
        negative = names[0] if positive == names[1] else names[1]
        notes.append(f"{target} is binary; the positive class is {positive!r}")
        return Target("binary", (negative, positive), tuple(notes))
    if integers and len(names) <= MOST_CLASSES:
        return Target("multiclass", tuple(names), (*notes, f"{target} is one of {len(names)} classes"))
    if numeric >= PARSED_SHARE * total:
        return Target("regression", (), (*notes, f"{target} is a number to be predicted"))
    raise UsageError(
        f"{sample.path}: the target {target!r} holds more than {MOST_CLASSES} different texts, "
        "neither classes nor numbers; choose another target"
    )


def class_name(number: float) -> str:
    """A number as the name of a class: 1.0 is ``1``."""
    return str(int(number)) if number.is_integer() else repr(number)
