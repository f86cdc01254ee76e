"""What two versions lost on the same labelled rows since a promotion, folded from the learner's metrics."""

from __future__ import annotations

from typing import NamedTuple

from penstock.events import LossPair, Metrics


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


class Rivalries:
    """Per partition, what each pair of versions lost since the newest generation began.

    A pair that a look does not name is no longer scored: should it come back, it starts from nothing.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._held: dict[int, dict[tuple[str, str], Rivalry]] = {}

    def observe(self, metrics: Metrics) -> None:
        """Take one look of the learner into account; each look once."""
        if metrics.generation > self._generation:
            self._generation, self._held = metrics.generation, {}
        if metrics.generation < self._generation:
            return
        before = self._held.get(metrics.partition, {})
        self._held[metrics.partition] = {
            (pair.first, pair.second): _sum(
                before.get((pair.first, pair.second), Rivalry()),
                _of(pair),
            )
            for pair in metrics.pairs
            if pair.n > 0
        }

    def between(self, served: str, other: str, generation: int) -> Rivalry:
        """How ``other`` did beside ``served`` in ``generation``; no rows where that is not the newest."""
        if generation != self._generation:
            return Rivalry()
        first, second = sorted((served, other))
        total = Rivalry()
        for held in self._held.values():
            total = _sum(total, held.get((first, second), Rivalry()))
        return total if first == served else total.turned()


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
