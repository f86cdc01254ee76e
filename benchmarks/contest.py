"""Contestants take turns, so that a machine's moods meet all of them alike; what counts are medians."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple


class Turn(NamedTuple):
    """One timed run: how many records, in how many seconds, by how much CPU of the contestant's process."""

    records: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Records per second of wall time."""
        return self.records / self.seconds


class Standing(NamedTuple):
    """A contestant's medians over all turns."""

    per_second: float
    cpu_us_per_record: float


def alternate(contestants: Mapping[str, Callable[[int], Turn]], rounds: int) -> dict[str, list[Turn]]:
    """``rounds`` turns of each contestant (given the round's number), every second round in reverse order."""
    turns: dict[str, list[Turn]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            turns[name].append(contestants[name](number))
    return turns


def standing(turns: Sequence[Turn]) -> Standing:
    """Medians of ``turns``."""
    return Standing(
        median(turn.per_second for turn in turns),
        median(1e6 * turn.cpu_seconds / turn.records for turn in turns),
    )


def ratio(turns: Sequence[Turn], others: Sequence[Turn]) -> float:
    """How many times the others' speed: the ratio of the medians of both."""
    return standing(turns).per_second / standing(others).per_second
