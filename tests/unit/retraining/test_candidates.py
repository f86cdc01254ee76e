"""Candidates learn, for every task, the same each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from online import snapshot
from online.batch import BatchModel, dump_batch, load_batch
from online.committee import Committee
from online.frozen import FrozenCommittee
from penstock.errors import ArtifactError
from penstock.events import ModelRecord
from penstock.spec import Categorical, Numeric, Pipeline, RetrainingPolicy, Task
from retraining.calibrating import Held, learn_isotonic, learn_sigmoid
from retraining.candidates import evidence, fit_candidates, recorded_settings
from retraining.dataset import Row
from retraining.families import families
from retraining.losses import summary
from retraining.warm_start import Base

FEATURES = (Numeric("x"), Numeric("z"), Categorical("c"))


def made(task: Task, count: int, seed: int = 0) -> tuple[Pipeline, list[Row]]:
    classes = {"binary": ("0", "1"), "multiclass": ("0", "1", "2"), "regression": ()}[task]
    policy = RetrainingPolicy(trials=5)
    pipeline = Pipeline(name="p", task=task, target="y", features=FEATURES, classes=classes, retraining=policy)
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


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_what_was_recorded_makes_the_same_models_without_a_search(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, rows = made(task, 600)
    found = fit_candidates(pipeline, rows)
    recorded = recorded_settings(evidence(found, []))
    assert recorded is not None
    monkeypatch.setattr("retraining.tuning.PATIENCE", 0)
    again = fit_candidates(pipeline, rows, recorded=recorded)
    assert [dump_batch(candidate.model) for candidate in again] == [dump_batch(candidate.model) for candidate in found]
    assert {msgspec.json.decode(candidate.settings)["trials"] for candidate in again} == {1}


def test_evidence_is_text_that_can_be_read_again() -> None:
    pipeline, rows = made("binary", 300)
    (first, *_) = candidates = fit_candidates(pipeline, rows)
    said = evidence(candidates, ["few rows"])
    assert said["warnings"] == '["few rows"]'
    assert msgspec.json.decode(said["candidates"])["logistic_regression"]["settings"] == {"C": 1.0}
    assert (recorded_settings(said) or {})[first.name] == first.settings
    assert recorded_settings({}) is None
    with pytest.raises(ArtifactError, match="not recorded as they should be"):
        recorded_settings({"candidates": "no JSON"})
    with pytest.raises(ArtifactError, match="settings of logistic_regression are not recorded"):
        fit_candidates(pipeline, rows, recorded={})


def test_time_ends_a_search() -> None:
    pipeline, rows = made("binary", 600)
    ticks = iter(range(0, 10_000, 50))
    found = fit_candidates(pipeline, rows, monotonic_s=lambda: float(next(ticks)))
    assert [msgspec.json.decode(candidate.settings)["trials"] for candidate in found] == [1, 1, 1]


def test_a_rare_class_is_given_weight_where_that_helps_and_probabilities_stay_true() -> None:
    pipeline, rows = made("binary", 900)
    rare = [row for index, row in enumerate(rows) if row.outcome == "0" or index % 10 == 0]
    assert "class_weight" in families(pipeline, [0.9, 0.1])[0].choices
    assert "class_weight" not in families(pipeline, [0.6, 0.4])[0].choices
    share = sum(row.outcome == "1" for row in rare) / len(rare)
    weighted = {
        name: f'{{"settings":{json}}}'
        for name, json in (
            ("logistic_regression", '{"C":1.0,"class_weight":"balanced"}'),
            ("gradient_boosting", '{"max_iter":30,"class_weight":"balanced"}'),
            ("random_forest", '{"min_samples_leaf":3,"class_weight":"balanced"}'),
        )
    }
    for candidate in fit_candidates(pipeline, rare, recorded=weighted):
        scores = candidate.model.score_many([row.features for row in rare])
        assert np.mean(scores) == pytest.approx(share, abs=0.06), candidate.name


def test_calibrated_scores_do_not_depend_on_their_neighbours_and_survive_storage() -> None:
    table = np.random.default_rng(0).dirichlet(np.ones(3), size=400)
    held = [Held(table, table.argmax(axis=1))]
    for task in ("binary", "multiclass"):
        pipeline, rows = made(task, 300)  # type: ignore[arg-type]
        model = fit_candidates(pipeline, rows)[1].model
        assert isinstance(model, BatchModel)
        width = len(pipeline.classes)
        tables = [held[0]._replace(table=table[:, :width] / table[:, :width].sum(axis=1, keepdims=True),
                                   classes=held[0].classes % width)]  # fmt: skip
        features = [row.features for row in rows]
        plain = BatchModel(pipeline, model.encoding, model.estimator).score_many(features)
        for calibration in (learn_sigmoid(tables), learn_isotonic(tables)):
            calibrated = BatchModel(pipeline, model.encoding, model.estimator, calibration)
            scores = calibrated.score_many(features)
            assert scores != plain
            assert [calibrated.score_many([row])[0] for row in features] == scores
            again = load_batch(pipeline, dump_batch(calibrated))
            assert again.score_many(features) == scores


def test_a_copy_of_the_online_model_joins_the_candidates() -> None:
    pipeline, rows = made("binary", 400)
    committee = Committee(pipeline)
    for row in rows[:200]:
        committee.learn_one(row.features, row.outcome)
    record = ModelRecord(slot="online-0", version="online", kind="online", generation=0, snapshot=200, offset=199)
    rows = [row._replace(offset=index) for index, row in enumerate(rows)]
    *_, copy = fit_candidates(pipeline, rows[200:], base=Base(record, snapshot.dump(committee)))
    assert copy.name == "online_copy"
    assert isinstance(copy.model, FrozenCommittee)
    assert copy.model.committee.learned == 400
    assert msgspec.json.decode(copy.settings)["settings"]["snapshot"] == 200
