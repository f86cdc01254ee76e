"""Candidates learn, for every task, the same each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from online.batch import dump_batch
from penstock.spec import Categorical, Numeric, Pipeline, Task
from retraining.candidates import fit_candidates
from retraining.dataset import Row
from retraining.losses import summary

FEATURES = (Numeric("x"), Numeric("z"), Categorical("c"))


def made(task: Task, count: int, seed: int = 0) -> tuple[Pipeline, list[Row]]:
    classes = {"binary": ("0", "1"), "multiclass": ("0", "1", "2"), "regression": ()}[task]
    pipeline = Pipeline(name="p", task=task, target="y", features=FEATURES, classes=classes)
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        x, z, c = float(rng.normal()), float(rng.normal()), int(rng.integers(4))
        signal = x * (1.0 if c % 2 else -1.0) + 0.1 * float(rng.normal())
        cuts = [0.0] if task == "binary" else [-0.5, 0.5]
        outcome = signal if task == "regression" else str(int(np.digitize(signal, cuts)))
        features = {"x": x if rng.random() < 0.95 else None, "z": z, "c": f"c{c}"}
        rows.append(Row(str(index), index, features, outcome, {}))
    return pipeline, rows


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_best_candidate_learns_an_interaction(task: Task) -> None:
    pipeline, rows = made(task, 1200)
    candidates = fit_candidates(pipeline, rows[:900])
    linear = "ridge" if task == "regression" else "logistic_regression"
    assert [candidate.name for candidate in candidates] == [linear, "gradient_boosting", "random_forest"]
    results = [
        summary(pipeline, candidate.name, candidate.model.score_many([row.features for row in rows[900:]]), rows[900:])
        for candidate in candidates
    ]
    if task == "regression":
        assert min(result.mae or 9.0 for result in results) < 0.35
    else:
        assert max(result.accuracy or 0.0 for result in results) > 0.8


def test_equal_rows_give_equal_models() -> None:
    pipeline, rows = made("binary", 400)
    first, second = fit_candidates(pipeline, rows), fit_candidates(pipeline, rows)
    assert [dump_batch(candidate.model) for candidate in first] == [dump_batch(candidate.model) for candidate in second]
    assert [candidate.settings for candidate in first] == [candidate.settings for candidate in second]


def test_a_class_that_comes_late_is_learned_all_the_same() -> None:
    pipeline, rows = made("binary", 400)
    rows = [row._replace(outcome="0") if index < 320 else row for index, row in enumerate(rows)]
    assert len(fit_candidates(pipeline, rows)) == 3


def test_the_first_fit_of_a_process_runs_on_one_thread() -> None:
    """Thread pools that scikit-learn brings along are limited too, though it is imported on first use."""
    script = (
        "import sys, test_candidates as t, threadpoolctl, retraining.folds as f, retraining.candidates as c\n"
        "pipeline, rows = t.made('binary', 300)\n"
        "seen, estimator = [], f.estimator\n"
        "def spied(*args):\n"
        "    seen.extend(pool['num_threads'] for pool in threadpoolctl.threadpool_info())\n"
        "    return estimator(*args)\n"
        "f.estimator = spied\n"
        "c.fit_candidates(pipeline, rows)\n"
        "print(sorted(set(seen)))\n"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=here.parents[2], env={"PYTHONPATH": f"{here}:{here.parents[2]}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[1]"
