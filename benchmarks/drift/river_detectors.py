"""River's drift detectors with their defaults, as a user would run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import DDM, EDDM, HDDMA, HDDMW

from penstock.events import Features

#: A fresh detector for signal number i of a stream.
Make: TypeAlias = Callable[[int], Any]

#: On the stream of wrong (1) and right (0) decisions.
ON_ERRORS: dict[str, Make] = {
    "ADWIN": lambda _: ADWIN(),  # type: ignore[no-untyped-call]  # River's drift module is not annotated
    "DDM": lambda _: DDM(),
    "EDDM": lambda _: EDDM(),
    "HDDM-A": lambda _: HDDMA(),  # type: ignore[no-untyped-call]
    "HDDM-W": lambda _: HDDMW(),  # type: ignore[no-untyped-call]
    "Page-Hinkley": lambda _: PageHinkley(),
}
#: One detector per numeric feature; an alarm of any is an alarm. KSWIN never fires on zeros and ones.
ON_FEATURES: dict[str, Make] = {
    "ADWIN per feature": lambda _: ADWIN(),  # type: ignore[no-untyped-call]
    "KSWIN per feature": lambda index: KSWIN(seed=index),
}


def alarms(make: Make, values: Iterable[float], index: int = 0) -> list[int]:
    """The positions at which a fresh detector reports drift; River's start again by themselves then."""
    detector, found = make(index), []
    for position, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(position)
    return found


def alarms_of_any(make: Make, columns: Iterable[Sequence[tuple[int, float]]]) -> list[int]:
    """The rows at which any column's detector reports drift; a column holds (row, value), missing values left out."""
    found: set[int] = set()
    for index, column in enumerate(columns):
        found.update(column[position][0] for position in alarms(make, (value for _, value in column), index))
    return sorted(found)


def numeric_columns(names: Sequence[str], rows: Sequence[Features]) -> Iterator[list[tuple[int, float]]]:
    """(row, value) of each named feature, missing values left out."""
    for name in names:
        yield [(index, float(value)) for index, row in enumerate(rows) if isinstance(value := row[name], int | float)]
