"""Candidates: a few scikit-learn models per task, their settings chosen on the newest part of the training rows.

Everything is seeded and runs on one thread, so equal rows give equal models, bit for bit. A fit of one setting is one
task: a pure function of what can be pickled, run wherever the backend says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from online.batch import BatchModel
from online.tabular import Encoding, Matrix, Style, learn_encoding
from penstock.spec import Pipeline
from retraining.backend import FitBackend, local, spread
from retraining.dataset import Row, targets
from retraining.losses import losses

#: The newest share of the training rows, on which settings are chosen before the final fit on all of them.
VALIDATION_SHARE = 0.25

#: An estimator and its settings. No lambda: those cannot be pickled.
_Make: TypeAlias = "partial[Any]"


class Candidate(NamedTuple):
    """A fitted model and the settings that were chosen for it."""

    name: str
    model: BatchModel
    settings: str


class _Family(NamedTuple):
    name: str
    style: Style
    settings: dict[str, _Make]


class _Training(NamedTuple):
    """What all tasks of a fit share; ``cut`` parts the rows that settings are fitted and compared on."""

    pipeline: Pipeline
    rows: tuple[Row, ...]
    cut: int


class _Task(NamedTuple):
    style: Style
    make: _Make


class _Fitted(NamedTuple):
    encoding: Encoding
    estimator: Any


def fit_candidates(pipeline: Pipeline, rows: Sequence[Row], backend: FitBackend = local) -> list[Candidate]:
    """One fitted candidate per family, in a fixed order. ``rows`` are in time order and hold at least two classes.

    Raises:
        ClusterError: ``backend`` is a cluster that cannot be used now; the same call may be repeated.
    """
    cut = len(rows) - round(len(rows) * VALIDATION_SHARE)
    # Nothing here reads the scores that were recorded with the rows: they need not travel.
    training = _Training(pipeline, tuple(row._replace(scores={}) for row in rows), cut)
    families = _families(pipeline)
    with backend(training):
        chosen = _chosen(training, families)
        tasks = [_Task(family.style, family.settings[name]) for family, name in zip(families, chosen, strict=True)]
        fitted = spread(_final, training, tasks)
    return [
        Candidate(family.name, BatchModel(pipeline, fit.encoding, fit.estimator), name)
        for family, name, fit in zip(families, chosen, fitted, strict=True)
    ]


def _chosen(training: _Training, families: Sequence[_Family]) -> list[str]:
    """Per family, the name of the setting with the least loss; the first where nothing can be compared."""
    if not _learnable(training.pipeline, training.rows[: training.cut]):
        return [next(iter(family.settings)) for family in families]
    tasks = [_Task(family.style, make) for family in families for make in family.settings.values()]
    found = iter(spread(_trial, training, tasks))
    chosen = []
    for family in families:
        trials = {name: next(found) for name in family.settings}
        chosen.append(min(trials, key=trials.__getitem__))
    return chosen


def _trial(training: _Training, task: _Task) -> float:
    """The mean loss on the newer rows of what was fitted on the older ones; infinite where it is no number."""
    pipeline, rows, cut = training
    model = BatchModel(pipeline, *_fit(pipeline, task, rows[:cut]))
    loss = float(losses(pipeline, model.score_many([row.features for row in rows[cut:]]), rows[cut:]).mean())
    return loss if math.isfinite(loss) else math.inf


def _final(training: _Training, task: _Task) -> _Fitted:
    return _fit(training.pipeline, task, training.rows)


def _learnable(pipeline: Pipeline, rows: Sequence[Row]) -> bool:
    return pipeline.task == "regression" or len({row.outcome for row in rows}) > 1


def _fit(pipeline: Pipeline, task: _Task, rows: Sequence[Row]) -> _Fitted:
    features, wanted = [row.features for row in rows], targets(pipeline, rows)
    encoding = learn_encoding(pipeline, features, wanted, task.style)
    matrix: Matrix = encoding.matrix(pipeline, features)
    target = wanted if pipeline.task == "regression" else wanted.astype(np.int64)
    return _Fitted(encoding, task.make().fit(matrix, target))


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
        {f"alpha={alpha:g}": partial(Ridge, alpha=alpha) for alpha in (1.0, 30.0)}
        if regression
        else {f"C={strength:g}": partial(LogisticRegression, C=strength, max_iter=300) for strength in (0.05, 1.0)}
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
                f"min_samples_leaf={leaf}": partial(
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
        settings[f"rate={rate} leaves={leaves} rounds={round(rounds * share)}"] = partial(
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
        settings["absolute error"] = partial(
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
