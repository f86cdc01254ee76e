"""Candidates: a few scikit-learn models per task, their settings chosen on the newest part of the training rows.

Everything is seeded and runs on one thread, so equal rows give equal models, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from online.batch import BatchModel
from online.tabular import Encoding, Matrix, Style, learn_encoding
from penstock.spec import Pipeline
from retraining.dataset import Row, targets
from retraining.losses import losses

#: The newest share of the training rows, on which settings are chosen before the final fit on all of them.
VALIDATION_SHARE = 0.25

_Make: TypeAlias = Callable[[], Any]


class Candidate(NamedTuple):
    """A fitted model and the settings that were chosen for it."""

    name: str
    model: BatchModel
    settings: str


class _Family(NamedTuple):
    name: str
    style: Style
    settings: dict[str, _Make]


def fit_candidates(pipeline: Pipeline, rows: Sequence[Row]) -> list[Candidate]:
    """One fitted candidate per family, in a fixed order. ``rows`` are in time order and hold at least two classes."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no stubs

    cut = len(rows) - round(len(rows) * VALIDATION_SHARE)
    families = _families(pipeline)
    # After scikit-learn is imported: only thread pools that are loaded by then are limited.
    with threadpool_limits(limits=1):
        return [_fit_family(pipeline, family, rows, cut) for family in families]


def _fit_family(pipeline: Pipeline, family: _Family, rows: Sequence[Row], cut: int) -> Candidate:
    chosen, least = next(iter(family.settings)), float("inf")
    if _learnable(pipeline, rows[:cut]):
        for name, make in family.settings.items():
            model = _fit(pipeline, family.style, make, rows[:cut])
            loss = float(losses(pipeline, model.score_many([row.features for row in rows[cut:]]), rows[cut:]).mean())
            if loss < least:
                chosen, least = name, loss
    return Candidate(family.name, _fit(pipeline, family.style, family.settings[chosen], rows), chosen)


def _learnable(pipeline: Pipeline, rows: Sequence[Row]) -> bool:
    return pipeline.task == "regression" or len({row.outcome for row in rows}) > 1


def _fit(pipeline: Pipeline, style: Style, make: _Make, rows: Sequence[Row]) -> BatchModel:
    features, wanted = [row.features for row in rows], targets(pipeline, rows)
    encoding: Encoding = learn_encoding(pipeline, features, wanted, style)
    matrix: Matrix = encoding.matrix(pipeline, features)
    target = wanted if pipeline.task == "regression" else wanted.astype(np.int64)
    return BatchModel(pipeline, encoding, make().fit(matrix, target))


def _families(pipeline: Pipeline) -> list[_Family]:
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.linear_model import LogisticRegression, Ridge

    regression, seed = pipeline.task == "regression", pipeline.retraining.seed
    linear = (
        {f"alpha={alpha:g}": _maker(Ridge, alpha=alpha) for alpha in (1.0, 30.0)}
        if regression
        else {f"C={strength:g}": _maker(LogisticRegression, C=strength, max_iter=300) for strength in (0.05, 1.0)}
    )
    boosting = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    forest = RandomForestRegressor if regression else RandomForestClassifier
    return [
        _Family("ridge" if regression else "logistic_regression", "scaled", linear),
        _Family("gradient_boosting", "ordinal", _boosting_settings(boosting, pipeline, seed)),
        _Family(
            "random_forest",
            "ordinal",
            {
                f"min_samples_leaf={leaf}": _maker(
                    forest, n_estimators=60, min_samples_leaf=leaf, max_features=0.5, random_state=seed
                )
                for leaf in (3, 10)
            },
        ),
    ]


def _boosting_settings(boosting: Any, pipeline: Pipeline, seed: int) -> dict[str, _Make]:
    # With many classes every round grows a tree per class: fewer rounds keep a fit within seconds.
    rounds = max(20, 120 // max(1, len(pipeline.classes) - 1))
    settings: dict[str, _Make] = {}
    for rate, leaves, share in ((0.06, 6, 0.5), (0.1, 6, 1.0), (0.1, 15, 1.0)):
        settings[f"rate={rate} leaves={leaves} rounds={round(rounds * share)}"] = _maker(
            boosting,
            learning_rate=rate,
            max_leaf_nodes=leaves,
            max_iter=round(rounds * share),
            min_samples_leaf=10,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
    if pipeline.task == "regression":
        settings["absolute error"] = _maker(
            boosting,
            loss="absolute_error",
            learning_rate=0.1,
            max_leaf_nodes=15,
            max_iter=rounds,
            min_samples_leaf=10,
            early_stopping=False,
            random_state=seed,
        )
    return settings


def _maker(make: Any, **settings: object) -> _Make:
    return lambda: make(**settings)
