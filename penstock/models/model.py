"""The model port: what a served model can do, whatever made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from penstock.events import Features, Score


class Model(Protocol):
    """A loaded model. Scoring never changes it: the same rows always give the same scores."""

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """One score per row, in order. Rows hold checked features (declared order; None for missing).

        Binary: probability of the positive class; multiclass: {class: probability}; regression: a finite number.
        """
        ...
