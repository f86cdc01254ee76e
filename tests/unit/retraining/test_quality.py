"""What stops a run, with its reason, and what is only worth a warning."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.spec import Categorical, Numeric, Pipeline, Task
from retraining.dataset import Dataset, Row
from retraining.quality import quality_of

FEATURES = (Numeric("x"), Categorical("c"))


def pipeline(task: Task = "binary") -> Pipeline:
    classes = {"binary": ("0", "1"), "multiclass": ("0", "1", "2"), "regression": ()}[task]
    return Pipeline(name="p", task=task, target="y", features=FEATURES, classes=classes)


def problem_with(pipeline: Pipeline, dataset: Dataset, comparison_share: float = 0.3) -> str | None:
    return quality_of(pipeline, dataset, comparison_share).problem or None


def warnings_of(changed: list[Row], task: Task = "binary") -> tuple[str, ...]:
    quality = quality_of(pipeline(task), Dataset(tuple(changed), ""), 0.3)
    assert quality.problem == ""
    return quality.warnings


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


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_good_data_has_no_problem(task: Task) -> None:
    assert quality_of(pipeline(task), rows(600, task), 0.3) == ("", (), None)


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


@pytest.mark.parametrize(("where", "what"), [(slice(0, 420), "fit"), (slice(420, 600), "compare")])
def test_a_class_that_is_too_rare_to_judge(where: slice, what: str) -> None:
    held = list(rows(600).rows)
    held[where] = [row._replace(outcome=str(int(index < 4))) for index, row in enumerate(held[where])]
    problem = problem_with(pipeline(), Dataset(tuple(held), ""))
    assert problem == f"the rows to {what} on have a class too rare to judge (1: 4 rows; at least 5 are needed)"


def test_a_rare_class_is_worth_a_warning() -> None:
    held = [row._replace(outcome=str(int(index % 15 == 0))) for index, row in enumerate(rows(600).rows)]
    assert warnings_of(held) == ("fewer than 30 rows to compare on, so judged roughly: class 1 (12)",)
    held = [row._replace(outcome=str(min(int(row.outcome), 1))) for row in rows(600, "multiclass").rows]
    assert warnings_of(held, "multiclass") == ("fewer than 30 rows to compare on, so judged roughly: class 2 (0)",)


def without(rows: list[Row], name: str, where: slice, every: int = 1) -> list[Row]:
    lost = set(range(*where.indices(len(rows)))[::every])
    return [
        row._replace(features={**row.features, name: None}) if index in lost else row for index, row in enumerate(rows)
    ]


def test_a_feature_that_has_gone_missing_within_the_window() -> None:
    held = without(list(rows(600).rows), "x", slice(415, 600))
    problem = problem_with(pipeline(), Dataset(tuple(held), ""))
    assert problem == (
        "feature x has gone missing: in 1% of the rows to fit on, in 100% of the later ones to compare on"
    )


def test_a_feature_that_is_missing_all_along_teaches_nothing() -> None:
    held = without(list(rows(600).rows), "x", slice(0, 600))
    assert "feature x is missing in 100% of the rows to fit on: nothing is learned from it" in warnings_of(held)
    both = without(held, "c", slice(0, 600))
    assert problem_with(pipeline(), Dataset(tuple(both), "")) == (
        "every feature is missing in at least 95% of the rows to fit on"
    )


def test_a_change_of_missing_values_is_worth_a_warning() -> None:
    held = without(list(rows(600).rows), "x", slice(420, 600), every=2)
    assert warnings_of(held) == ("feature x is missing in 0% of the rows to fit on, in 50% of the later ones",)


def test_rows_that_repeat_others() -> None:
    held = list(rows(600).rows)
    twice = [held[index // 3]._replace(id=str(index)) for index in range(600)]
    problem = problem_with(pipeline(), Dataset(tuple(twice), ""))
    assert problem == "duplicates: 67% of the rows repeat the features and the outcome of another"
    some = [held[index % 550]._replace(id=str(index)) for index in range(600)]
    assert warnings_of(some) == ("8% of the rows repeat the features and the outcome of another",)


def test_rows_that_are_alike_by_chance_are_no_duplicates() -> None:
    rng = np.random.default_rng(0)
    held = [row._replace(features={"x": float(rng.integers(5)), "c": f"c{rng.integers(4)}"}) for row in rows(600).rows]
    (warning,) = warnings_of(held)
    assert warning.endswith("of the rows repeat the features and the outcome of another")


def test_ids_that_come_twice() -> None:
    held = [row._replace(id=str(index % 500)) for index, row in enumerate(rows(600).rows)]
    assert problem_with(pipeline(), Dataset(tuple(held), "")) == "duplicates: 17% of the rows repeat the id of another"
    held = [row._replace(id=str(index % 594)) for index, row in enumerate(rows(600).rows)]
    assert warnings_of(held) == ("1.0% of the rows repeat the id of another",)


@pytest.mark.parametrize("share", [0.0001, 0.9999])
def test_a_share_that_leaves_no_rows_on_a_side(share: float) -> None:
    assert str(problem_with(pipeline(), rows(600), share)).startswith("too little data")
