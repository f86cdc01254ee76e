"""Families of candidates: which estimators there are per task, and which of their settings are searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from online.tabular import Style
from penstock.spec import Pipeline

if TYPE_CHECKING:
    from optuna.trial import Trial

#: Values of settings, as they are written into the log: JSON.
Settings: TypeAlias = dict[str, float | int | str | None]

TREES = 60
#: A tree of a forest sees at most so many rows: a fit grows with the rows no further than they bring something.
ROWS_PER_TREE = 4000
#: Class weights are tried where the rarest class has less than this share of an even one.
RARE = 0.4
#: Boosting rounds, when there is one tree per round.
ROUNDS = 120


class Range(NamedTuple):
    """Where a setting is searched. ``whole``: integers only; ``log``: evenly over the orders of magnitude."""

    low: float
    high: float
    whole: bool = False
    log: bool = True


class Family(NamedTuple):
    """A kind of estimator. ``starts``: settings that are known to do well, tried first; the first needs no search."""

    name: str
    style: Style
    starts: tuple[Settings, ...]
    ranges: dict[str, Range]
    choices: dict[str, tuple[str | None, ...]]

    def suggest(self, trial: Trial) -> Settings:
        """Settings that ``trial`` asks to be tried."""
        found: Settings = {}
        for name, within in self.ranges.items():
            if within.whole:
                found[name] = trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
            else:
                found[name] = trial.suggest_float(name, within.low, within.high, log=within.log)
        for name, choices in self.choices.items():
            found[name] = trial.suggest_categorical(name, choices)
        return found


def families(pipeline: Pipeline, shares: Sequence[float] = ()) -> list[Family]:
    """The families of ``pipeline``'s task, in a fixed order. ``shares``: how often each class occurs."""
    regression = pipeline.task == "regression"
    # Weights shift probabilities away from the truth; calibration brings them back. Only rare classes gain by it.
    weights = () if regression or min(shares, default=1.0) * len(pipeline.classes) >= RARE else (None, "balanced")
    return [_weighted(family, weights) for family in (_linear(regression), _boosting(pipeline, regression), _forest())]


def _weighted(family: Family, weights: tuple[str | None, ...]) -> Family:
    if not weights:
        return family
    first, *others = [{**start, "class_weight": None} for start in family.starts]
    starts = (first, {**first, "class_weight": "balanced"}, *others)
    return family._replace(starts=starts, choices={**family.choices, "class_weight": weights})


def _linear(regression: bool) -> Family:
    if regression:
        return Family("ridge", "scaled", ({"alpha": 1.0}, {"alpha": 30.0}), {"alpha": Range(0.01, 1000.0)}, {})
    return Family("logistic_regression", "scaled", ({"C": 1.0}, {"C": 0.05}), {"C": Range(0.001, 100.0)}, {})


def _boosting(pipeline: Pipeline, regression: bool) -> Family:
    # With many classes every round grows a tree per class: fewer rounds keep a fit within seconds.
    most = max(20, ROUNDS // max(1, len(pipeline.classes) - 1))
    starts: list[Settings] = [
        {"learning_rate": rate, "max_leaf_nodes": leaves, "max_iter": rounds, "min_samples_leaf": 10,
         "l2_regularization": 1.0}
        for rate, leaves, rounds in ((0.06, 6, most // 2), (0.1, 15, most), (0.1, 6, most))
    ]  # fmt: skip
    ranges = {
        "learning_rate": Range(0.02, 0.2),
        "max_leaf_nodes": Range(4, 31, whole=True),
        "max_iter": Range(most // 4, most * 2, whole=True),
        "min_samples_leaf": Range(5, 50, whole=True),
        "l2_regularization": Range(0.1, 10.0),
    }
    choices: dict[str, tuple[str | None, ...]] = {}
    if regression:
        choices = {"loss": ("squared_error", "absolute_error")}
        starts = [
            {**start, "loss": loss} for start, loss in zip(starts, (*choices["loss"], *choices["loss"]), strict=False)
        ]
    return Family("gradient_boosting", "ordinal", tuple(starts), ranges, choices)


def _forest() -> Family:
    starts: tuple[Settings, ...] = (
        {"min_samples_leaf": 3, "max_features": 0.5},
        {"min_samples_leaf": 10, "max_features": 0.5},
    )
    ranges = {"min_samples_leaf": Range(1, 40, whole=True), "max_features": Range(0.2, 1.0, log=False)}
    return Family("random_forest", "ordinal", starts, ranges, {})


def estimator(pipeline: Pipeline, family: str, settings: Settings, rows: int) -> Any:
    """A new estimator of ``family`` for ``rows`` rows. Seeded, so equal rows give equal models."""
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.linear_model import LogisticRegression, Ridge

    regression, seed = pipeline.task == "regression", pipeline.retraining.seed
    if family == "ridge":
        return Ridge(**settings)
    if family == "logistic_regression":
        return LogisticRegression(max_iter=300, **settings)
    if family == "gradient_boosting":
        boosting: Any = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        return boosting(early_stopping=False, random_state=seed, **settings)
    forest: Any = RandomForestRegressor if regression else RandomForestClassifier
    most = ROWS_PER_TREE if rows > ROWS_PER_TREE else None
    return forest(n_estimators=TREES, max_samples=most, random_state=seed, **settings)
