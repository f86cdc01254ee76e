from __future__ import annotations

from collections.abc import Sequence

from penstock.cli.rebuild import compare
from penstock.events import Features, Score


class Constant:
    """A model of one score."""

    def __init__(self, score: Score) -> None:
        self.score = score

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        return [self.score for _ in rows]


ROWS: list[Features] = [{"x": 1.0}, {"x": 2.0}]


def test_the_greatest_difference_is_told() -> None:
    assert compare(Constant(0.5), Constant(0.5), ROWS) == (0.0, "")
    assert compare(Constant(0.5), Constant(0.25), ROWS) == (0.25, "")


def test_models_that_cannot_be_compared_say_why() -> None:
    compared = compare(Constant({"a": 0.5, "b": 0.5}), Constant({"a": 1.0}), ROWS)
    assert compared.difference is None
    assert compared.why == "they cannot be compared: the scores are of different classes"
