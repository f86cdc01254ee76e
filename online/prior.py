"""What is served before anything was learned."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.events import Features, Score
from penstock.spec import Pipeline


class PriorModel:
    """Knows nothing: 0.5 (binary), the same for every class (multiclass), 0 (regression)."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._task = pipeline.task
        self._classes = pipeline.classes

    @property
    def score(self) -> Score:
        """The score of every row."""
        if self._task == "binary":
            return 0.5
        if self._task == "multiclass":
            return dict.fromkeys(self._classes, 1.0 / len(self._classes))
        return 0.0

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """The same score for every row."""
        return [self.score for _ in rows]
