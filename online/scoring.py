"""From requests to predictions: one call per model for a whole batch. Used by the scorer stage and by HTTP alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from penstock.errors import ArtifactError
from penstock.events import Features, Outcome, Prediction, Request, Role, Score
from penstock.models.slot import ONLINE, Loaded, Serving, sound_scores
from penstock.spec import Pipeline

#: Asks one model for the scores of all rows; None where it cannot give them.
Ask: TypeAlias = Callable[[Loaded, Sequence[Features]], list[Score] | None]


def decide(pipeline: Pipeline, score: Score) -> Outcome:
    """What a score means: binary, positive if the score is at least the threshold; multiclass, the most probable class
    (the first declared of equal ones); regression, the score itself."""
    if pipeline.task == "binary" and not isinstance(score, dict):
        return pipeline.classes[1] if score >= pipeline.threshold else pipeline.classes[0]
    if isinstance(score, dict):
        return max(pipeline.classes, key=score.__getitem__)
    return score


def score_requests(
    pipeline: Pipeline, serving: Serving, requests: Sequence[tuple[Request, int]], ask: Ask = sound_scores
) -> list[Prediction]:
    """One prediction per request, in order, all by what ``serving`` holds; each model is asked once.

    Each request (with checked features) comes with its append time in ms, which stands in for an absent event time; an
    absent entity is the id. The canary's entities are answered by it (role ``canary``), all others by the champion; the
    scores of the other versions are the prediction's ``shadow``. Where ``ask`` gives None for who should answer, the
    champion and then the fallbacks stand in, and the prediction names who did; in the shadow it is left out.

    Raises:
        ArtifactError: neither the champion nor a fallback could answer; or whatever ``ask`` raises.
    """
    if not requests:
        return []
    rows = [request.features for request, _ in requests]
    scored = {each.version: ask(each, rows) for each in (serving.champion, *serving.shadows)}
    answering = _answering(serving, rows, scored, ask)
    snapshots = {
        each.version: each.snapshot or 0
        for each in (serving.champion, *serving.shadows, *serving.fallbacks)
        if each.version == ONLINE
    }
    columns = {version: scores for version, scores in scored.items() if scores is not None}
    generation, canary = serving.generation, serving.canary
    predictions = _predicted(pipeline, generation, requests, columns, snapshots, answering, "champion")
    if canary is None or canary.version not in columns:
        return predictions
    tried = _predicted(pipeline, generation, requests, columns, snapshots, canary.version, "canary")
    return [own if canary.answers(own.entity) else other for own, other in zip(tried, predictions, strict=True)]


def _predicted(
    pipeline: Pipeline,
    generation: int,
    requests: Sequence[tuple[Request, int]],
    columns: Mapping[str, list[Score]],
    snapshots: Mapping[str, int],
    version: str,
    role: Role,
) -> list[Prediction]:
    """What ``version`` answers to all ``requests``; the other ``columns`` of scores are the shadow."""
    scores = columns[version]
    shadows: list[dict[str, Score]] = [{} for _ in requests]
    for other, column in columns.items():
        if other != version:
            for shadow, score in zip(shadows, column, strict=True):
                shadow[other] = score
    snapshot = snapshots.get(version)
    return [
        Prediction(
            id=request.id,
            entity=request.id if request.entity is None else request.entity,
            event_time_ms=timestamp_ms if request.event_time_ms is None else request.event_time_ms,
            features=request.features,
            version=version,
            generation=generation,
            role=role,
            decision=decision,
            score=None if isinstance(score, dict) else score,
            scores=score if isinstance(score, dict) else None,
            snapshot=snapshot,
            shadow=shadow,
        )
        for (request, timestamp_ms), score, decision, shadow in zip(
            requests, scores, _decisions(pipeline, scores), shadows, strict=True
        )
    ]


def _decisions(pipeline: Pipeline, scores: Sequence[Score]) -> list[Outcome]:
    """`decide` for a whole batch."""
    if pipeline.task != "binary" or any(isinstance(score, dict) for score in scores):
        return [decide(pipeline, score) for score in scores]
    (negative, positive), threshold = pipeline.classes, pipeline.threshold
    return [positive if score >= threshold else negative for score in scores]  # type: ignore[operator]  # no dicts here


def _answering(serving: Serving, rows: Sequence[Features], scored: dict[str, list[Score] | None], ask: Ask) -> str:
    """The version of the first, of champion and fallbacks, that has scores; a fallback is asked only if need be."""
    for each in (serving.champion, *serving.fallbacks):
        if each.version not in scored:
            scored[each.version] = ask(each, rows)
        if scored[each.version] is not None:
            return each.version
    raise ArtifactError(f"model {serving.champion.version} and all that stand in for it cannot score")
