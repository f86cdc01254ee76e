"""The model pool: River's online models behind one small port, and which of them each CPU tier uses.

A member predicts a list of numbers: binary, the positive class's probability; multiclass, one probability per class;
regression, one value in the scaled target's units. Classes are integers inside, never strings: River keeps them in
sets, and only the order of integers in a set is the same in every process. All seeds are constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from river import forest, linear_model, optim, tree

from online.bayes import GaussianBayes
from online.encoding import Encoded
from penstock.spec import Pipeline, Task, Tier

#: One seed for all members that draw random numbers.
SEED = 20
#: Features per split of the random forest, as a share (better than River's default of the square root).
FOREST_FEATURES = 0.6

LIGHT = ("linear_fast", "linear_slow", "bayes")
BALANCED = (*LIGHT, "adaptive_tree", "mondrian_small")
FULL = (*LIGHT, "adaptive_tree", "mondrian", "random_forest")
#: Members per tier. Naive Bayes has no regression form and is left out there.
TIERS: dict[Tier, tuple[str, ...]] = {"light": LIGHT, "balanced": BALANCED, "full": FULL}

LEARNING_RATES = {"linear_fast": 0.1, "linear_slow": 0.01}
#: Linear members shorten rows so that rate × squared length stays below this: beyond 2, a gradient step overshoots.
STEP_LIMIT = 1.5
#: Bound on Hoeffding trees, whatever the length of the stream.
MAX_DEPTH = 12
#: (trees, nodes per tree): the bound on memory. A full tree goes on updating its nodes.
MONDRIAN = {"mondrian_small": (5, 1000), "mondrian": (10, 2000)}


class Member(Protocol):
    """One model of the pool. `predict` never changes it."""

    def predict(self, x: Encoded) -> Sequence[float]:
        """See the module's text. May raise ``ArithmeticError`` or return non-finite numbers: the committee copes."""
        ...

    def learn(self, x: Encoded, target: float) -> None:
        """Learn one row; ``target`` is the class index or the scaled target."""
        ...


def _shortened(x: Encoded, limit: float) -> dict[str, float]:
    if x.length <= limit:
        return x.linear
    factor = limit / x.length
    return {name: value * factor for name, value in x.linear.items()}


class LinearBinary:
    """River's logistic regression on the sparse row."""

    def __init__(self, rate: float) -> None:
        self._limit = math.sqrt(STEP_LIMIT / rate)
        self._model: Any = linear_model.LogisticRegression(optim.SGD(rate), intercept_lr=rate)

    def predict(self, x: Encoded) -> Sequence[float]:
        """The positive class's probability."""
        return (self._model.predict_proba_one(_shortened(x, self._limit))[True],)

    def learn(self, x: Encoded, target: float) -> None:
        """One gradient step on the log loss."""
        self._model.learn_one(_shortened(x, self._limit), target > 0.5)


class LinearMulticlass:
    """One River logistic regression per class (one versus rest), normalised."""

    def __init__(self, rate: float, classes: int) -> None:
        self._limit = math.sqrt(STEP_LIMIT / rate)
        self._models: list[Any] = [
            linear_model.LogisticRegression(optim.SGD(rate), intercept_lr=rate) for _ in range(classes)
        ]

    def predict(self, x: Encoded) -> Sequence[float]:
        """One probability per class."""
        row = _shortened(x, self._limit)
        raw = [model.predict_proba_one(row)[True] for model in self._models]
        total = sum(raw)
        return [each / total for each in raw]

    def learn(self, x: Encoded, target: float) -> None:
        """One gradient step for each class."""
        label = int(target)
        row = _shortened(x, self._limit)
        for index, model in enumerate(self._models):
            model.learn_one(row, index == label)


class LinearRegression:
    """River's linear regression on the sparse row, with a Huber loss: an outlier's gradient is bounded."""

    def __init__(self, rate: float) -> None:
        self._limit = math.sqrt(STEP_LIMIT / rate)
        self._model: Any = linear_model.LinearRegression(
            optim.SGD(rate), loss=optim.losses.Huber(1.0), intercept_lr=rate, clip_gradient=1.0
        )

    def predict(self, x: Encoded) -> Sequence[float]:
        """The scaled target."""
        return (self._model.predict_one(_shortened(x, self._limit)),)

    def learn(self, x: Encoded, target: float) -> None:
        """One gradient step."""
        self._model.learn_one(_shortened(x, self._limit), target)


class Bayes:
    """`GaussianBayes` on the dense row."""

    def __init__(self, classes: int, width: int) -> None:
        self._model = GaussianBayes(classes, width)
        self._binary = classes == 2

    def predict(self, x: Encoded) -> Sequence[float]:
        """The positive class's probability, or one per class."""
        logs = self._model.log_proba(np.array(list(x.dense.values())))
        if self._binary:
            margin = float(logs[1] - logs[0])
            return (1.0 / (1.0 + math.exp(-margin)) if margin > -700.0 else 0.0,)
        weights = np.exp(logs - logs.max())
        probabilities: list[float] = (weights / weights.sum()).tolist()
        return probabilities

    def learn(self, x: Encoded, target: float) -> None:
        """Count the row."""
        self._model.learn(np.array(list(x.dense.values())), int(target))


class RiverClassifier:
    """A River classifier on the dense row."""

    def __init__(self, model: Any, classes: int) -> None:
        self._model = model
        self._classes = classes

    def predict(self, x: Encoded) -> Sequence[float]:
        """The positive class's probability, or one per class; classes that were never seen have 0."""
        found: dict[int, float] = self._model.predict_proba_one(x.dense)
        if self._classes == 2:
            return (found.get(1, 0.0),)
        return [found.get(index, 0.0) for index in range(self._classes)]

    def learn(self, x: Encoded, target: float) -> None:
        """Learn one row."""
        self._model.learn_one(x.dense, int(target))


class RiverRegressor:
    """A River regressor on the dense row."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, x: Encoded) -> Sequence[float]:
        """The scaled target."""
        return (float(self._model.predict_one(x.dense)),)

    def learn(self, x: Encoded, target: float) -> None:
        """Learn one row."""
        self._model.learn_one(x.dense, target)


def members_of(pipeline: Pipeline) -> tuple[str, ...]:
    """The names of the committee's members, fixed by the pipeline's tier and task."""
    names = TIERS[pipeline.tier]
    return tuple(name for name in names if name != "bayes") if pipeline.task == "regression" else names


def new_member(name: str, pipeline: Pipeline, width: int) -> Member:
    """A fresh member called ``name``; ``width`` is the number of dense keys."""
    task, classes = pipeline.task, len(pipeline.classes)
    if name in LEARNING_RATES:
        return _linear(task, classes, LEARNING_RATES[name])
    if name == "bayes":
        return Bayes(classes, width)
    if task == "regression":
        return RiverRegressor(_regressor(name))
    return RiverClassifier(_classifier(name, classes), classes)


def _linear(task: Task, classes: int, rate: float) -> Member:
    if task == "binary":
        return LinearBinary(rate)
    if task == "multiclass":
        return LinearMulticlass(rate, classes)
    return LinearRegression(rate)


def _classifier(name: str, classes: int) -> Any:
    if name in MONDRIAN:
        trees, nodes = MONDRIAN[name]
        return forest.AMFClassifier(n_estimators=trees, max_nodes=nodes, dirichlet=1.0 / classes, seed=SEED)
    if name == "adaptive_tree":
        return tree.HoeffdingAdaptiveTreeClassifier(max_depth=MAX_DEPTH, seed=SEED)
    arf: Any = forest.ARFClassifier  # its annotations leave out the share that it documents
    return arf(n_models=10, max_features=FOREST_FEATURES, max_depth=MAX_DEPTH, seed=SEED)


def _bounded_splitter() -> Any:
    # River's default for regression keeps every distinct value; this one keeps bins of a quarter of a spread.
    return tree.splitter.QOSplitter(radius=0.25)


def _regressor(name: str) -> Any:
    if name in MONDRIAN:
        trees, nodes = MONDRIAN[name]
        return forest.AMFRegressor(n_estimators=trees, max_nodes=nodes, seed=SEED)
    if name == "adaptive_tree":
        return tree.HoeffdingAdaptiveTreeRegressor(
            leaf_prediction="mean", splitter=_bounded_splitter(), max_depth=MAX_DEPTH, seed=SEED
        )
    arf: Any = forest.ARFRegressor
    return arf(
        n_models=10,
        max_features=FOREST_FEATURES,
        leaf_prediction="mean",
        splitter=_bounded_splitter(),
        max_depth=MAX_DEPTH,
        seed=SEED,
    )
