"""Since when the inputs have been far from their reference: what retraining waits to last."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from penstock.events import DriftCondition
from penstock.spec import RetrainingPolicy


class Figures(NamedTuple):
    """What a look at the inputs gives: drift score and share of the watched features that moved, both in [0, 1]."""

    drift_score: float
    drifted_share: float


class Lasting(msgspec.Struct, array_like=True, frozen=True):
    """Since when a figure has been above its limit (None: it is not), and at how many looks since it was not."""

    since_ms: int | None = None
    quiet: int = 0

    def after(self, value: float, limit: float | None, now_ms: int, patience: int) -> Lasting:
        """What it is one look later: it ends after ``patience`` looks in a row at or below the limit."""
        if limit is not None and value > limit:
            return Lasting(now_ms if self.since_ms is None else self.since_ms)
        if self.since_ms is None or limit is None or self.quiet + 1 >= patience:
            return Lasting()
        return Lasting(self.since_ms, self.quiet + 1)


class Watch(msgspec.Struct, array_like=True, frozen=True):
    """How both figures stand since the last promotion."""

    generation: int = 0
    score: Lasting = Lasting()
    share: Lasting = Lasting()

    def after(self, policy: RetrainingPolicy, figures: Figures, generation: int, now_ms: int, patience: int) -> Watch:
        """What it is at the next look, which is about ``generation``; with a new one both start afresh."""
        before = self if generation == self.generation else Watch()
        return Watch(
            generation,
            before.score.after(figures.drift_score, policy.drift_score, now_ms, patience),
            before.share.after(figures.drifted_share, policy.drifted_share, now_ms, patience),
        )

    @property
    def lasts(self) -> bool:
        """Whether any figure is above its limit, or was a moment ago."""
        return self.score.since_ms is not None or self.share.since_ms is not None

    def condition(self, figures: Figures) -> DriftCondition:
        """What is told about it."""
        return DriftCondition(
            drift_score=figures.drift_score,
            drifted_share=figures.drifted_share,
            drift_score_since_ms=self.score.since_ms,
            drifted_share_since_ms=self.share.since_ms,
        )
