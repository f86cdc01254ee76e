"""What two versions lost on the same examples: the sums from which a paired comparison is made.

Two models that are fitted to the same world fail on the same rows. The spread of the difference of their losses is
therefore far below the sum of both spreads, and a comparison by it needs far fewer rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from online.blend import PROBABILITY_FLOOR
from online.tally import LARGEST
from penstock.events import Example, LossPair, Outcome, Score
from penstock.spec import Pipeline


class LossPairs:
    """Counts, for every two versions that scored an example, both losses and the square of their difference."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._loss = _loss_of(pipeline)
        self._sums: dict[tuple[str, str], list[float]] = {}

    def add(self, example: Example) -> None:
        """Count one example, by what was said at the time of its request."""
        prediction = example.prediction
        if not prediction.shadow:
            return
        scores = {**prediction.shadow, prediction.version: prediction.served}
        losses = [(version, self._loss(scores[version], example.value)) for version in sorted(scores)]
        for position, (first, lost) in enumerate(losses):
            for second, other in losses[position + 1 :]:
                held = self._sums.get((first, second))
                if held is None:
                    held = self._sums[first, second] = [0, 0.0, 0.0, 0.0]
                held[0] += 1
                held[1] += lost
                held[2] += other
                held[3] += (lost - other) ** 2

    def flush(self) -> list[LossPair]:
        """The sums by pair; then starts afresh."""
        pairs = [
            LossPair(
                first=first, second=second, n=int(n), first_loss=lost, second_loss=other, difference_squared=square
            )
            for (first, second), (n, lost, other, square) in sorted(self._sums.items())
        ]
        self._sums = {}
        return pairs

    def state(self) -> bytes:
        """All sums, as MessagePack."""
        return msgspec.msgpack.encode([(*pair, *sums) for pair, sums in self._sums.items()])

    def restore(self, state: bytes) -> None:
        """Replace the sums by what ``state()`` returned."""
        rows = msgspec.msgpack.decode(state, type=list[tuple[str, str, int, float, float, float]])
        self._sums = {(first, second): list(sums) for first, second, *sums in rows}


def _loss_of(pipeline: Pipeline) -> Callable[[Score, Outcome], float]:
    if pipeline.task == "regression":
        return _absolute
    positive = pipeline.classes[1]

    def log_loss(score: Score, outcome: Outcome) -> float:
        if isinstance(score, dict):
            chosen = score.get(str(outcome), 0.0)
        else:
            chosen = score if outcome == positive else 1.0 - score
        return -math.log(min(max(chosen, PROBABILITY_FLOOR), 1.0 - PROBABILITY_FLOOR))

    return log_loss


def _absolute(score: Score, outcome: Outcome) -> float:
    if isinstance(score, dict):
        raise TypeError("a regression's score is a number")
    # Its square must stay finite.
    return min(abs(score - float(outcome)), LARGEST)
