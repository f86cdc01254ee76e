"""What is read from the log, and what stops a run."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.clock import VirtualClock
from penstock.contract import decoder_for
from penstock.events import DataRange, Example, Prediction, encode
from penstock.log.memory import MemoryLog
from penstock.log.port import Message, TopicConfig
from penstock.spec import Categorical, Numeric, Pipeline, Task
from retraining.dataset import Dataset, Row, problem_with, read_dataset

FEATURES = (Numeric("x"), Categorical("c"))


def pipeline(task: Task = "binary") -> Pipeline:
    classes = {"binary": ("0", "1"), "multiclass": ("0", "1", "2"), "regression": ()}[task]
    return Pipeline(name="p", task=task, target="y", features=FEATURES, classes=classes)


def example(identity: str, time: int, revision: int = 0, version: str = "online") -> bytes:
    prediction = Prediction(
        id=identity, entity="e", event_time_ms=time, features={"x": 1.0, "c": None}, version=version,
        generation=0, decision="1", score=0.25, shadow={"online": 0.5} if version != "online" else {},
    )  # fmt: skip
    return encode(Example(id=identity, prediction=prediction, value="1", label_time_ms=time, revision=revision))


def test_rows_come_in_time_order_over_partitions_without_revisions() -> None:
    log = MemoryLog(VirtualClock(), [TopicConfig("examples", 2)])
    for partition, values in enumerate(
        ([example("a", 5), example("b", 1), example("a", 5, revision=1)], [example("c", 3, version="v1"), b"broken"])
    ):
        log.append([Message("examples", b"k", value, partition) for value in values])
    data = DataRange(offsets={"0": (0, 3), "1": (0, 2)})
    dataset = read_dataset(log, data, decoder_for("examples", pipeline()))
    assert [row.id for row in dataset.rows] == ["b", "c", "a"]
    assert dataset.rows[1].scores == {"v1": 0.25, "online": 0.5}
    assert dataset.rows[0].scores == {"online": 0.25}
    assert dataset == read_dataset(log, data, decoder_for("examples", pipeline()))
    part = read_dataset(log, DataRange(offsets={"0": (1, 2)}), decoder_for("examples", pipeline()))
    assert [row.id for row in part.rows] == ["b"]
    assert part.digest != dataset.digest


def rows(count: int, task: Task = "binary", *, leak: str = "", seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        x, wanted = float(rng.normal()), int(rng.integers(3 if task == "multiclass" else 2))
        value: float | None = x
        if leak == "value":
            value = wanted + 0.01 * x
        if leak == "missing":
            value = None if wanted else x
        city = f"c{wanted}" if leak == "category" else f"c{rng.integers(400)}"
        outcome = float(wanted) + (0.3 * x if leak != "value" else 0.01 * x) if task == "regression" else str(wanted)
        made.append(Row(str(index), index, {"x": value, "c": city}, outcome, {}))
    return Dataset(tuple(made), "d")


def test_the_split_is_by_time() -> None:
    earlier, later = rows(10).split(0.3)
    assert [row.id for row in later] == ["7", "8", "9"]
    assert len(earlier) == 7


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_good_data_has_no_problem(task: Task) -> None:
    assert problem_with(pipeline(task), rows(600, task), 0.3) is None


def test_too_little_data() -> None:
    problem = problem_with(pipeline(), rows(150), 0.3)
    assert problem == "too little data: 150 labelled rows, at least 200 are needed"


@pytest.mark.parametrize(("where", "what"), [(slice(0, 420), "fit"), (slice(420, 600), "compare")])
def test_one_class_only(where: slice, what: str) -> None:
    held = list(rows(600).rows)
    held[where] = [row._replace(outcome="0") for row in held[where]]
    problem = problem_with(pipeline(), Dataset(tuple(held), ""), 0.3)
    assert problem is not None
    assert problem.startswith(f"the rows to {what} on have one class only (0: ")


def test_a_constant_target_of_a_regression() -> None:
    held = tuple(row._replace(outcome=1.0) for row in rows(600).rows)
    assert "one value of y only" in str(problem_with(pipeline("regression"), Dataset(held, ""), 0.3))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize(
    ("leak", "said"), [("value", "the value of feature x"), ("category", "the value of feature c")]
)
def test_leaked_labels_stop_the_run(task: Task, leak: str, said: str) -> None:
    problem = problem_with(pipeline(task), rows(600, task, leak=leak), 0.3)
    assert problem is not None
    assert problem.startswith(f"leakage: {said} alone tells the target")


def test_leaked_missingness_and_regression() -> None:
    assert "missingness of feature x" in str(problem_with(pipeline(), rows(600, leak="missing"), 0.3))
    assert "value of feature x" in str(problem_with(pipeline("regression"), rows(600, "regression", leak="value"), 0.3))


@pytest.mark.parametrize("change", [{"features": {"x": 1.0}}, {"outcome": "7"}, {"outcome": 1.0}])
def test_rows_of_another_spec_stop_the_run(change: dict[str, object]) -> None:
    held = list(rows(600).rows)
    held[300] = held[300]._replace(**change)
    problem = problem_with(pipeline(), Dataset(tuple(held), ""), 0.3)
    assert problem is not None
    assert problem.startswith("example 300 was recorded under another spec")
