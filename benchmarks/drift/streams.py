"""What a stream is to the contestants: rows, labels, true drifts, and what was served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from benchmarks.drift.scoring import Change
from penstock.events import Features, Outcome
from penstock.spec import Feature, Pipeline

Family: TypeAlias = Literal[
    "concept, online model", "concept, fixed model", "error rate", "covariate", "real concept", "real covariate"
]


class Stream(NamedTuple):
    """Rows with their labels and where they truly change.

    What is served: ``answers`` (probabilities of the positive class) where the stream itself says how good the model
    is; else the scores of the newest snapshot of an online model, which learns the first ``taught`` rows (None: all).
    """

    name: str
    family: Family
    seed: int
    pipeline: Pipeline
    rows: list[tuple[Features, Outcome]]
    drifts: tuple[Change, ...]
    answers: list[float] | None = None
    taught: int | None = None


def jitter(seed: int) -> int:
    """Drifts begin between two looks as well as at one."""
    return 37 * (seed + 1) % 100


def light_pipeline(name: str, features: Sequence[Feature], classes: Sequence[str] = ("0", "1")) -> Pipeline:
    """A classification by the light tier."""
    task: Literal["binary", "multiclass"] = "binary" if len(classes) == 2 else "multiclass"
    return Pipeline(name=name, task=task, target="y", classes=tuple(classes), features=tuple(features), tier="light")
