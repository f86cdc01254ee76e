"""What a score cost, row by row: log loss, or absolute error for regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from online.batch import FLOOR
from penstock.events import CandidateResult, Score
from penstock.spec import Pipeline
from retraining.dataset import Row


def losses(pipeline: Pipeline, scores: Sequence[Score], rows: Sequence[Row]) -> NDArray[np.float64]:
    """Per row: −ln(probability of what happened), floored at 1e-6; regression: |score − value|."""
    if pipeline.task == "regression":
        errors: NDArray[np.float64] = np.abs(_numbers(scores) - np.array([float(row.outcome) for row in rows]))
        return errors
    chances = [_chance(pipeline, score, str(row.outcome)) for score, row in zip(scores, rows, strict=True)]
    result: NDArray[np.float64] = -np.log(np.clip(np.array(chances), FLOOR, 1.0))
    return result


def _numbers(scores: Sequence[Score]) -> NDArray[np.float64]:
    return np.array([score for score in scores if not isinstance(score, dict)], dtype=np.float64)


def _chance(pipeline: Pipeline, score: Score, outcome: str) -> float:
    if isinstance(score, dict):
        return score.get(outcome, 0.0)
    return score if outcome == pipeline.positive else 1.0 - score


def summary(pipeline: Pipeline, name: str, scores: Sequence[Score], rows: Sequence[Row]) -> CandidateResult:
    """How ``scores`` did on ``rows`` (at least one)."""
    each = losses(pipeline, scores, rows)
    if pipeline.task == "regression":
        return CandidateResult(name=name, mae=float(each.mean()), rmse=float(np.sqrt((each**2).mean())))
    right = sum(_decided(pipeline, score) == row.outcome for score, row in zip(scores, rows, strict=True))
    return CandidateResult(name=name, log_loss=float(each.mean()), accuracy=right / len(rows))


def _decided(pipeline: Pipeline, score: Score) -> str:
    if isinstance(score, dict):
        return max(score, key=lambda name: score[name])
    return pipeline.classes[1] if score >= pipeline.threshold else pipeline.classes[0]
