"""What the monitor keeps of a champion's prediction: the score, the decision, and how sure they are."""

from __future__ import annotations

from math import log

import msgspec

from penstock.contract import MAX_MAGNITUDE
from penstock.events import Prediction


class Served(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One served prediction. ``score`` is None for multiclass; ``confidence`` and ``entropy`` for regression.

    ``confidence`` is the greatest probability, ``entropy`` the predictive entropy over its maximum: both in [0, 1].
    """

    version: str
    time_ms: int
    decision: str
    score: float | None = None
    confidence: float | None = None
    entropy: float | None = None


def served(prediction: Prediction, task: str) -> Served:
    """What ``prediction`` said, in the ``task`` of its pipeline."""
    version, time_ms = prediction.version, prediction.event_time_ms
    if task == "regression":
        score = None if prediction.score is None else min(MAX_MAGNITUDE, max(-MAX_MAGNITUDE, prediction.score))
        return Served(version, time_ms, "", score)
    if prediction.scores is not None:
        shares = list(prediction.scores.values())
    else:
        score = prediction.score or 0.0
        shares = [score, 1.0 - score]
    bits = -sum(share * log(share) for share in shares if share > 0.0)
    entropy = min(1.0, max(0.0, bits / log(max(2, len(shares)))))
    confidence = min(1.0, max(0.0, max(shares, default=1.0)))
    return Served(version, time_ms, str(prediction.decision), prediction.score, confidence, entropy)
