"""Batch models: a fitted scikit-learn estimator behind the model port, and its artifact without pickle.

A frozen committee (`online.frozen`) is a batch model too: `dump_batch` and `load_batch` tell the two apart.

scikit-learn and skops are imported only where an estimator is loaded or stored, so that what serves the online model
never pays for them.
"""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from online import frozen
from online.calibration import FLOOR as FLOOR
from online.calibration import Calibration
from online.flat_trees import FlatTrees, Tree
from online.frozen import FrozenCommittee
from online.tabular import Encoding, Matrix
from penstock.errors import ArtifactError
from penstock.events import Features, Score
from penstock.spec import Pipeline, Task

#: The only classes that a stored estimator may be.
ESTIMATORS = (
    "LogisticRegression",
    "Ridge",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
)
#: Types that skops does not trust by itself; nothing beyond these is ever constructed.
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor", "sklearn.tree._tree.Tree")
_MAGIC = b"penstock-batch-1\n"

#: Rows × columns → rows × outputs: class probabilities in the estimator's order of classes, or one number.
_Scorer: TypeAlias = Callable[[Matrix], Matrix]


class _Header(msgspec.Struct, frozen=True):
    task: Task
    features: list[str]
    classes: list[str]
    estimator: str
    encoding: Encoding
    calibration: Calibration | None = None


class BatchModel:
    """A fitted estimator, the encoding of its rows and, where it has one, the calibration of its probabilities.

    ``estimator`` was fitted on ``encoding.matrix(...)`` with targets as class indices (classification) or numbers.
    A row's score never depends on the rows beside it. Probabilities are kept within [1e-6, 1 − 1e-6].
    """

    def __init__(
        self, pipeline: Pipeline, encoding: Encoding, estimator: Any, calibration: Calibration | None = None
    ) -> None:
        self._pipeline = pipeline
        self.encoding = encoding
        self.estimator = estimator
        self.calibration = calibration
        self._scorer = _scorer(estimator, pipeline.task)

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """One score per row, in order (see the model port)."""
        if not rows:
            return []
        return self.scores_of(self.encoding.matrix(self._pipeline, rows))

    def scores_of(self, matrix: Matrix) -> list[Score]:
        """One score per row of an encoded matrix."""
        table = self.table_of(matrix)
        if self._pipeline.task == "regression":
            return list(table[:, 0].tolist())
        if self._pipeline.task == "binary":
            return list(table[:, 1].tolist())
        return [dict(zip(self._pipeline.classes, row, strict=True)) for row in table.tolist()]

    def table_of(self, matrix: Matrix) -> Matrix:
        """Rows × classes in declared order (probabilities), or rows × 1 (regression), of an encoded matrix."""
        outputs = self._scorer(matrix)
        if self._pipeline.task == "regression":
            return outputs
        table: Matrix = np.zeros((len(matrix), len(self._pipeline.classes)))
        table[:, np.asarray(self.estimator.classes_, dtype=np.intp)] = outputs
        if self.calibration is not None:
            table = self.calibration.calibrated(table)
        if self._pipeline.task == "binary":
            return np.clip(table, FLOOR, 1.0 - FLOOR)
        table = np.clip(table, FLOOR, 1.0)
        table /= table.sum(axis=1, keepdims=True)
        return table


def _scorer(estimator: Any, task: Task) -> _Scorer:
    name = type(estimator).__name__
    if name.startswith("HistGradientBoosting"):
        return _boosting(estimator, task)
    if name.startswith("RandomForest"):
        return _forest(estimator, task)
    return _linear(np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_), task)


def _linear(weights: Matrix, intercept: Matrix, task: Task) -> _Scorer:
    def score(matrix: Matrix) -> Matrix:
        # Not a matrix product: BLAS adds up in another order for one row than for many.
        columns = [np.ascontiguousarray(matrix * row).sum(axis=1) for row in weights]
        return _linked(np.stack(columns, axis=1) + intercept, task)

    return score


def _linked(raw: Matrix, task: Task) -> Matrix:
    if task == "regression":
        return raw
    if raw.shape[1] == 1:
        positive: NDArray[np.float64] = expit(raw[:, 0])
        return np.stack([1.0 - positive, positive], axis=1)
    probabilities: Matrix = softmax(raw, axis=1)
    return probabilities


def _boosting(estimator: Any, task: Task) -> _Scorer:
    baseline = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
    outputs = len(baseline)
    trees = [
        _boosted_tree(predictor.nodes, column, outputs)
        for stage in estimator._predictors
        for column, predictor in enumerate(stage)
    ]
    flat = FlatTrees(trees)
    return lambda matrix: _linked(flat.sums(matrix) + baseline, task)


def _boosted_tree(nodes: NDArray[Any], column: int, outputs: int) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    value = np.zeros((len(nodes), outputs))
    value[:, column] = nodes["value"]
    return Tree(
        nodes["feature_idx"].astype(np.intp),
        nodes["num_threshold"].astype(np.float64),
        np.where(leaf, -1, nodes["left"].astype(np.intp)),
        np.where(leaf, -1, nodes["right"].astype(np.intp)),
        nodes["missing_go_to_left"].astype(bool),
        value,
    )


def _forest(estimator: Any, task: Task) -> _Scorer:
    trees = [_grown_tree(member.tree_, task) for member in estimator.estimators_]
    flat = FlatTrees(trees)
    count = len(trees)
    # Forests are grown on single precision; their thresholds mean nothing for a double just beside them.
    return lambda matrix: flat.sums(matrix.astype(np.float32)) / count


def _grown_tree(tree: Any, task: Task) -> Tree:
    value = np.asarray(tree.value, dtype=np.float64)[:, 0, :]
    return Tree(
        np.asarray(tree.feature, dtype=np.intp),
        np.asarray(tree.threshold, dtype=np.float64),
        np.asarray(tree.children_left, dtype=np.intp),
        np.asarray(tree.children_right, dtype=np.intp),
        np.asarray(tree.missing_go_to_left).astype(bool),
        value if task == "regression" else value / value.sum(axis=1, keepdims=True),
    )


def dump_batch(model: BatchModel | FrozenCommittee) -> bytes:
    """The model's artifact: a header (JSON) and the estimator (skops). Equal models have equal bytes.

    A frozen committee's is a snapshot of the online model behind a mark of its own.
    """
    if isinstance(model, FrozenCommittee):
        return frozen.dump(model)
    import skops.io

    pipeline = model._pipeline
    header = _Header(
        pipeline.task,
        [feature.name for feature in pipeline.features],
        list(pipeline.classes),
        type(model.estimator).__name__,
        model.encoding,
        model.calibration,
    )
    return _MAGIC + msgspec.json.encode(header) + b"\n" + _canonical(skops.io.dumps(model.estimator))


def _canonical(data: bytes) -> bytes:
    """The same skops archive with members numbered in order of appearance instead of named by memory address."""
    source = zipfile.ZipFile(io.BytesIO(data))
    numbers: dict[str, str] = {}
    schema = _renumbered(json.loads(source.read("schema.json")), numbers, itertools.count(1))
    members = {"schema.json": json.dumps(schema, separators=(",", ":")).encode()}
    for name in source.namelist():
        if name != "schema.json":
            stem, dot, suffix = name.partition(".")
            members[numbers[stem] + dot + suffix] = source.read(name)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name), members[name], zipfile.ZIP_DEFLATED, 6)
    return target.getvalue()


def _renumbered(node: Any, numbers: dict[str, str], fresh: Iterator[int]) -> Any:
    if isinstance(node, list):
        return [_renumbered(child, numbers, fresh) for child in node]
    if not isinstance(node, dict):
        return node
    done: dict[str, Any] = {}
    if "__id__" in node:
        # Whether two equal constants share an address is chance, so each constant gets a number of its own.
        constant = node.get("__loader__") == "JsonNode"
        number = str(next(fresh)) if constant else numbers.setdefault(str(node["__id__"]), str(next(fresh)))
        done["__id__"] = int(number)
    for key, value in node.items():
        if key == "file":
            stem, dot, suffix = value.partition(".")
            done[key] = numbers.setdefault(stem, str(next(fresh))) + dot + suffix
        elif key != "__id__":
            done[key] = _renumbered(value, numbers, fresh)
    return done


def load_batch(pipeline: Pipeline, data: bytes) -> BatchModel | FrozenCommittee:
    """The model of an artifact whose digest and signature were already checked.

    Raises:
        ArtifactError: not such an artifact, made for other features or classes, or it holds an untrusted type.
    """
    if data.startswith(frozen.MAGIC):
        return frozen.load(pipeline, data)
    if not data.startswith(_MAGIC):
        raise ArtifactError("batch model: not an artifact of a batch model")
    line, _, body = data[len(_MAGIC) :].partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=_Header)
    except msgspec.MsgspecError as error:
        raise ArtifactError(f"batch model: unreadable header: {error}") from error
    wanted = (pipeline.task, [feature.name for feature in pipeline.features], list(pipeline.classes))
    if (header.task, header.features, header.classes) != wanted:
        raise ArtifactError("batch model: made for another task, other features or other classes than the pipeline's")
    estimator = _loaded_estimator(body)
    if type(estimator).__name__ != header.estimator or header.estimator not in ESTIMATORS:
        raise ArtifactError(f"batch model: {type(estimator).__name__} is not a kind of model that is served")
    return BatchModel(pipeline, header.encoding, estimator, header.calibration)


def _loaded_estimator(body: bytes) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.loads(body, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        raise ArtifactError(f"batch model: {error}") from error
    except Exception as error:  # a damaged archive may fail in any way inside skops
        raise ArtifactError(f"batch model: the estimator does not load: {type(error).__name__}: {error}") from error
