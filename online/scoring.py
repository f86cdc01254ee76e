"""From requests to predictions: one call per model for a whole batch. Used by the scorer stage and by HTTP alike."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.events import Outcome, Prediction, Request, Score
from penstock.models.slot import ONLINE, Serving
from penstock.spec import Pipeline


def decide(pipeline: Pipeline, score: Score) -> Outcome:
    """What a score means: binary, positive if the score is at least the threshold; multiclass, the most probable class
    (the first declared of equal ones); regression, the score itself."""
    if pipeline.task == "binary" and not isinstance(score, dict):
        return pipeline.classes[1] if score >= pipeline.threshold else pipeline.classes[0]
    if isinstance(score, dict):
        return max(pipeline.classes, key=score.__getitem__)
    return score


def score_requests(pipeline: Pipeline, serving: Serving, requests: Sequence[tuple[Request, int]]) -> list[Prediction]:
    """One champion prediction per request, in order, all by what ``serving`` holds.

    Each request (with checked features) comes with its append time in ms, which stands in for an absent event time; an
    absent entity is the id.
    """
    if not requests:
        return []
    rows = [request.features for request, _ in requests]
    champion = serving.champion
    served = champion.model.score_many(rows)
    shadows = [(shadow.version, shadow.model.score_many(rows)) for shadow in serving.shadows]
    snapshot = (champion.snapshot or 0) if champion.version == ONLINE else None
    predictions = []
    for index, (request, timestamp_ms) in enumerate(requests):
        score = served[index]
        predictions.append(
            Prediction(
                id=request.id,
                entity=request.id if request.entity is None else request.entity,
                event_time_ms=timestamp_ms if request.event_time_ms is None else request.event_time_ms,
                features=request.features,
                version=champion.version,
                generation=serving.generation,
                decision=decide(pipeline, score),
                score=None if isinstance(score, dict) else score,
                scores=score if isinstance(score, dict) else None,
                snapshot=snapshot,
                shadow={version: scores[index] for version, scores in shadows},
            )
        )
    return predictions
