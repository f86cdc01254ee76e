"""What two versions lost on the same labelled rows since a promotion, folded from the learner's metrics."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from penstock.events import LossPair, Metrics

#: Newest looks of a pair that are held one by one (default 100 labelled rows each).
LOOKS = 200


class Rivalry(NamedTuple):
    """Over the same ``rows``: sums of the losses of what is served and of another version, and of the squares of
    (served − other) per row.

    ``look_squared``: over the ``looks`` that these rows came in, the sum of (served − other over the look)² / its rows.
    """

    rows: int = 0
    served: float = 0.0
    other: float = 0.0
    difference_squared: float = 0.0
    looks: int = 0
    look_squared: float = 0.0

    def turned(self) -> Rivalry:
        """The same, seen from the other version."""
        return self._replace(served=self.other, other=self.served)

    def means(self) -> str:
        """Both mean losses and the rows, for people."""
        return f"loss {self.served / self.rows:.4g} against {self.other / self.rows:.4g} over {self.rows} labelled rows"


class _Course:
    """What one pair lost in one partition: in all, and at each of the newest looks."""

    def __init__(self) -> None:
        self.total = Rivalry()
        #: The stream's labelled rows before the look, and the look.
        self.looks: deque[tuple[int, Rivalry]] = deque(maxlen=LOOKS)

    def add(self, look: Rivalry, began: int) -> _Course:
        self.total = _sum(self.total, look)
        self.looks.append((began, look))
        return self


class Rivalries:
    """Per partition, what each pair of versions lost since the newest generation began.

    A pair that a look does not name is no longer scored: should it come back, it starts from nothing.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._labelled = 0
        self._held: dict[int, dict[tuple[str, str], _Course]] = {}

    def observe(self, metrics: Metrics, labelled: int) -> None:
        """Take one look of the learner into account, each look once; ``labelled``: the stream's rows after it."""
        began, self._labelled = self._labelled, max(self._labelled, labelled)
        if metrics.generation > self._generation:
            self._generation, self._held = metrics.generation, {}
        if metrics.generation < self._generation:
            return
        before = self._held.get(metrics.partition, {})
        self._held[metrics.partition] = {
            (pair.first, pair.second): before.get((pair.first, pair.second), _Course()).add(_of(pair), began)
            for pair in metrics.pairs
            if pair.n > 0
        }

    def between(self, served: str, other: str, generation: int) -> Rivalry:
        """How ``other`` did beside ``served`` in ``generation``; no rows where that is not the newest."""
        return self._between(served, other, generation, [course.total for course in self._courses(served, other)])

    def since(self, labelled: int, served: str, other: str, generation: int) -> Rivalry:
        """The same, over the looks that began at or after so many ``labelled`` rows; at most the newest `LOOKS`."""
        courses = self._courses(served, other)
        looks = [look for course in courses for began, look in course.looks if began >= labelled]
        return self._between(served, other, generation, looks)

    def newer_half(self, served: str, other: str, generation: int) -> Rivalry:
        """The same, over the newer half of each partition's looks; at most half of the newest `LOOKS`."""
        courses = self._courses(served, other)
        looks = [look for course in courses for _, look in list(course.looks)[len(course.looks) // 2 :]]
        return self._between(served, other, generation, looks)

    def _courses(self, served: str, other: str) -> list[_Course]:
        first, second = sorted((served, other))
        return [held[first, second] for held in self._held.values() if (first, second) in held]

    def _between(self, served: str, other: str, generation: int, parts: list[Rivalry]) -> Rivalry:
        if generation != self._generation:
            return Rivalry()
        total = Rivalry()
        for part in parts:
            total = _sum(total, part)
        return total if served <= other else total.turned()


def _of(pair: LossPair) -> Rivalry:
    look_squared = (pair.first_loss - pair.second_loss) ** 2 / pair.n
    return Rivalry(pair.n, pair.first_loss, pair.second_loss, pair.difference_squared, 1, look_squared)


def _sum(one: Rivalry, two: Rivalry) -> Rivalry:
    return Rivalry(
        one.rows + two.rows,
        one.served + two.served,
        one.other + two.other,
        one.difference_squared + two.difference_squared,
        one.looks + two.looks,
        one.look_squared + two.look_squared,
    )
