"""The model pool: River's online models behind one small port, and which of them each CPU tier uses.

A member predicts a list of numbers: binary, the positive class's probability; multiclass, one probability per class;
regression, one value in the scaled target's units. Classes are integers inside, never strings: River keeps them in
sets, and only the order of integers in a set is the same in every process. All seeds are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from river import ensemble, forest, tree

from online.additive import Additive
from online.bayes import GaussianBayes
from online.encoding import Encoded
from online.linear import LinearBinary, LinearMulticlass, LinearRegression, sigmoid, softmax
from penstock.spec import Pipeline, Task, Tier

#: One seed for all members that draw random numbers.
SEED = 20
#: Features per split of the random forest, as a share (better than River's default of the square root).
FOREST_FEATURES = 0.6

LIGHT = ("linear_fast", "linear_slow", "additive")
BALANCED = (*LIGHT, "bayes", "pairwise", "adaptive_tree", "mondrian_small")
FULL = (*LIGHT, "bayes", "pairwise", "adaptive_tree", "mondrian", "random_forest", "bagging")
#: Members per tier. Naive Bayes has no regression form and is left out there.
TIERS: dict[Tier, tuple[str, ...]] = {"light": LIGHT, "balanced": BALANCED, "full": FULL}

LEARNING_RATES = {"linear_fast": 0.1, "linear_slow": 0.01}
#: Additive models by whether they have interactions.
ADDITIVE = {"additive": False, "pairwise": True}
#: Bound on Hoeffding trees, whatever the length of the stream.
MAX_DEPTH = 12
BAGGED_TREES = 5
#: (trees, nodes per tree): the bound on memory. A full tree goes on updating its nodes.
MONDRIAN = {"mondrian_small": (5, 1000), "mondrian": (10, 2000)}


class Member(Protocol):
    """One model of the pool. `predict` never changes it."""

    def predict(self, x: Encoded) -> Sequence[float]:
        """See the module's text. May raise ``ArithmeticError`` or return non-finite numbers: the committee copes."""
        ...

    def learn(self, x: Encoded, target: float, output: Sequence[float], /) -> None:
        """Learn one row; ``target`` is the class index or the scaled target, ``output`` what `predict` says of it."""
        ...


class Bayes:
    """`GaussianBayes` on the dense row."""

    def __init__(self, classes: int, width: int) -> None:
        self._model = GaussianBayes(classes, width)
        self._binary = classes == 2

    def predict(self, x: Encoded) -> Sequence[float]:
        """The positive class's probability, or one per class."""
        logs = self._model.log_proba(x.array)
        if self._binary:
            return (sigmoid(float(logs[1] - logs[0])),)
        return softmax(logs.tolist())

    def learn(self, x: Encoded, target: float, _output: Sequence[float]) -> None:
        """Count the row."""
        self._model.learn(x.array, int(target))


def _named(columns: tuple[str, ...], x: Encoded) -> dict[str, float]:
    return dict(zip(columns, x.dense, strict=True))


class RiverClassifier:
    """A River classifier on the dense row."""

    def __init__(self, model: Any, classes: int, columns: Sequence[str]) -> None:
        self._model = model
        self._classes = classes
        self._columns = tuple(columns)

    def predict(self, x: Encoded) -> Sequence[float]:
        """The positive class's probability, or one per class; classes that were never seen have 0."""
        found: dict[int, float] = self._model.predict_proba_one(_named(self._columns, x))
        if self._classes == 2:
            return (found.get(1, 0.0),)
        return [found.get(index, 0.0) for index in range(self._classes)]

    def learn(self, x: Encoded, target: float, _output: Sequence[float]) -> None:
        """Learn one row."""
        self._model.learn_one(_named(self._columns, x), int(target))


class RiverRegressor:
    """A River regressor on the dense row."""

    def __init__(self, model: Any, columns: Sequence[str]) -> None:
        self._model = model
        self._columns = tuple(columns)

    def predict(self, x: Encoded) -> Sequence[float]:
        """The scaled target."""
        return (float(self._model.predict_one(_named(self._columns, x))),)

    def learn(self, x: Encoded, target: float, _output: Sequence[float]) -> None:
        """Learn one row."""
        self._model.learn_one(_named(self._columns, x), target)


def members_of(pipeline: Pipeline) -> tuple[str, ...]:
    """The names of the committee's members, fixed by the pipeline's tier and task."""
    names = TIERS[pipeline.tier]
    return tuple(name for name in names if name != "bayes") if pipeline.task == "regression" else names


def new_member(name: str, pipeline: Pipeline, columns: Sequence[str]) -> Member:
    """A fresh member called ``name`` for rows of these ``columns``."""
    task, classes = pipeline.task, len(pipeline.classes)
    if name in LEARNING_RATES:
        return _linear(task, classes, LEARNING_RATES[name], len(columns))
    if name in ADDITIVE:
        return Additive(task, classes, len(columns), ADDITIVE[name])
    if name == "bayes":
        return Bayes(classes, len(columns))
    if task == "regression":
        return RiverRegressor(_regressor(name), columns)
    return RiverClassifier(_classifier(name, classes), classes, columns)


def _linear(task: Task, classes: int, rate: float, width: int) -> Member:
    if task == "binary":
        return LinearBinary(rate, width)
    if task == "multiclass":
        return LinearMulticlass(rate, width, classes)
    return LinearRegression(rate, width)


def _classifier(name: str, classes: int) -> Any:
    if name in MONDRIAN:
        trees, nodes = MONDRIAN[name]
        return forest.AMFClassifier(n_estimators=trees, max_nodes=nodes, dirichlet=1.0 / classes, seed=SEED)
    if name == "adaptive_tree":
        return tree.HoeffdingAdaptiveTreeClassifier(max_depth=MAX_DEPTH, seed=SEED)
    if name == "bagging":
        base = tree.HoeffdingTreeClassifier(max_depth=MAX_DEPTH)
        return ensemble.LeveragingBaggingClassifier(base, n_models=BAGGED_TREES, seed=SEED)
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
    if name == "bagging":
        base = tree.HoeffdingTreeRegressor(leaf_prediction="mean", splitter=_bounded_splitter(), max_depth=MAX_DEPTH)
        return ensemble.BaggingRegressor(base, n_models=BAGGED_TREES, seed=SEED)
    arf: Any = forest.ARFRegressor
    return arf(
        n_models=10,
        max_features=FOREST_FEATURES,
        leaf_prediction="mean",
        splitter=_bounded_splitter(),
        max_depth=MAX_DEPTH,
        seed=SEED,
    )
