"""Batch models score as scikit-learn does, row by row as in bulk, and survive storage byte for byte."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge

from online.batch import FLOOR, BatchModel, dump_batch, load_batch
from online.tabular import learn_encoding
from penstock.errors import ArtifactError
from penstock.events import Features
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline, Task

FEATURES = (Numeric("amount"), Categorical("city"), Boolean("known"), Date("opened"), Numeric("age"))
CITIES = ("bonn", "kiel", "ulm")


def pipeline(task: Task) -> Pipeline:
    classes = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    return Pipeline(name="p", task=task, target="y", features=FEATURES, classes=classes)


def rows(count: int, seed: int = 0) -> list[Features]:
    rng = np.random.default_rng(seed)
    return [
        {
            "amount": None if rng.random() < 0.1 else float(rng.normal(100, 30)),
            "city": None if rng.random() < 0.1 else CITIES[rng.integers(3)],
            "known": None if rng.random() < 0.1 else bool(rng.random() < 0.5),
            "opened": None if rng.random() < 0.1 else f"20{rng.integers(10, 25)}-0{rng.integers(1, 10)}-11",
            "age": float(rng.integers(18, 80)),
        }
        for _ in range(count)
    ]


def target(task: Task, data: list[Features]) -> np.ndarray:
    signal = np.array([(row["age"] or 0) / 20 + (3 if row["city"] == "kiel" else 0) for row in data], dtype=float)
    if task == "regression":
        return signal
    cuts = [4.0] if task == "binary" else [3.0, 5.0]
    return np.digitize(signal, cuts).astype(float)


ESTIMATORS: dict[str, tuple[Task, Any, str]] = {
    "logistic": ("binary", lambda: LogisticRegression(), "scaled"),
    "logistic-multiclass": ("multiclass", lambda: LogisticRegression(), "scaled"),
    "ridge": ("regression", lambda: Ridge(), "scaled"),
    "boosting": ("binary", lambda: HistGradientBoostingClassifier(max_iter=12, random_state=0), "ordinal"),
    "boosting-multiclass": (
        "multiclass",
        lambda: HistGradientBoostingClassifier(max_iter=7, random_state=0),
        "ordinal",
    ),
    "boosting-regression": (
        "regression",
        lambda: HistGradientBoostingRegressor(max_iter=12, random_state=0),
        "ordinal",
    ),
    "forest": ("binary", lambda: RandomForestClassifier(9, random_state=0), "ordinal"),
    "forest-multiclass": ("multiclass", lambda: RandomForestClassifier(9, random_state=0), "ordinal"),
    "forest-regression": ("regression", lambda: RandomForestRegressor(9, random_state=0), "ordinal"),
}


@cache
def fitted(kind: str) -> BatchModel:
    task, make, style = ESTIMATORS[kind]
    spec, data = pipeline(task), rows(300)
    wanted = target(task, data)
    encoding = learn_encoding(spec, data, wanted, style)  # type: ignore[arg-type]
    labels = wanted if task == "regression" else wanted.astype(int)
    return BatchModel(spec, encoding, make().fit(encoding.matrix(spec, data), labels))


@pytest.fixture(scope="module", params=list(ESTIMATORS))
def model(request: pytest.FixtureRequest) -> BatchModel:
    return fitted(request.param)


def as_table(model: BatchModel, scores: list[Any]) -> np.ndarray:
    if isinstance(scores[0], dict):
        return np.array([list(score.values()) for score in scores])
    return np.array(scores)


def test_scores_are_those_of_scikit_learn(model: BatchModel) -> None:
    fresh = rows(200, seed=1)
    matrix = model.encoding.matrix(model._pipeline, fresh)
    if model._pipeline.task == "regression":
        wanted = model.estimator.predict(matrix)
    else:
        wanted = np.clip(model.estimator.predict_proba(matrix), FLOOR, 1 - FLOOR)
        wanted = wanted[:, 1] if model._pipeline.task == "binary" else wanted
    np.testing.assert_allclose(as_table(model, model.score_many(fresh)), wanted, rtol=1e-5, atol=2e-6)


def test_a_rows_score_does_not_depend_on_its_neighbours(model: BatchModel) -> None:
    fresh = rows(60, seed=2)
    assert [model.score_many([row])[0] for row in fresh] == model.score_many(fresh)
    assert model.score_many([]) == []


def test_scoring_changes_nothing(model: BatchModel) -> None:
    before = dump_batch(model)
    model.score_many(rows(50, seed=3))
    assert dump_batch(model) == before


def test_round_trip_is_exact(model: BatchModel) -> None:
    data = dump_batch(model)
    again = load_batch(model._pipeline, data)
    fresh = rows(100, seed=4)
    assert again.score_many(fresh) == model.score_many(fresh)
    assert dump_batch(model) == data


def test_a_second_fit_in_another_process_gives_the_same_bytes() -> None:
    script = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import test_batch as t;"
        "print([hashlib.sha256(t.dump_batch(t.fitted(kind))).hexdigest() for kind in t.ESTIMATORS])"
    )
    here = str(__file__).rsplit("/", 1)[0]
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, here],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@given(
    amount=st.none() | st.floats(-1e150, 1e150),
    city=st.none() | st.text(max_size=5),
    known=st.none() | st.booleans(),
    opened=st.none() | st.dates().map(str),
    age=st.none() | st.floats(-1e150, 1e150),
)
@settings(max_examples=60, deadline=None)
def test_any_row_that_keeps_the_contract_gets_a_finite_score(amount, city, known, opened, age) -> None:  # type: ignore[no-untyped-def]
    row: Features = {"amount": amount, "city": city, "known": known, "opened": opened, "age": age}
    for kind in ("logistic", "boosting", "forest"):
        score = fitted(kind).score_many([row])[0]
        assert isinstance(score, float)
        assert FLOOR <= score <= 1 - FLOOR
    assert np.isfinite(fitted("ridge").score_many([row])[0])


def test_multiclass_scores_sum_to_one_in_declared_order() -> None:
    for score in fitted("forest-multiclass").score_many(rows(50, seed=5)):
        assert isinstance(score, dict)
        assert list(score) == ["a", "b", "c"]
        assert sum(score.values()) == pytest.approx(1.0)


def test_a_class_that_training_never_saw_gets_the_floor() -> None:
    spec, data = pipeline("multiclass"), rows(200)
    wanted = np.minimum(target("multiclass", data), 1.0)
    encoding = learn_encoding(spec, data, wanted, "ordinal")
    model = BatchModel(
        spec, encoding, RandomForestClassifier(5, random_state=0).fit(encoding.matrix(spec, data), wanted)
    )
    score = model.score_many(data[:1])[0]
    assert isinstance(score, dict)
    assert score["c"] == pytest.approx(FLOOR, rel=1e-3)


def test_artifacts_of_other_pipelines_and_damaged_ones_are_refused() -> None:
    model = fitted("boosting")
    data = dump_batch(model)
    with pytest.raises(ArtifactError, match="another task"):
        load_batch(pipeline("multiclass"), data)
    with pytest.raises(ArtifactError, match="not an artifact"):
        load_batch(pipeline("binary"), b"pickle")
    with pytest.raises(ArtifactError, match="does not load"):
        load_batch(pipeline("binary"), data[:-100])


def test_an_untrusted_type_is_refused() -> None:
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    head, line, _ = dump_batch(fitted("logistic")).split(b"\n", 2)
    foreign = skops.io.dumps(make_pipeline(FunctionTransformer(subprocess.run), LogisticRegression()))
    with pytest.raises(ArtifactError, match="Untrusted types"):
        load_batch(pipeline("binary"), b"\n".join([head, line, foreign]))


def test_a_trusted_type_that_is_no_model_is_refused() -> None:
    import skops.io

    head, line, _ = dump_batch(fitted("logistic")).split(b"\n", 2)
    with pytest.raises(ArtifactError, match="not a kind of model"):
        load_batch(pipeline("binary"), b"\n".join([head, line, skops.io.dumps({"a": 1})]))


def test_the_artifact_names_no_memory_address() -> None:
    body = dump_batch(fitted("forest")).split(b"\n", 2)[2]
    names = zipfile.ZipFile(io.BytesIO(body)).namelist()
    assert max(int(name.split(".")[0]) for name in names if name.endswith(".npy")) < 100_000


def test_category_codes_follow_the_mean_target() -> None:
    spec = pipeline("binary")
    data = rows(300)
    encoding = learn_encoding(spec, data, target("binary", data), "ordinal")
    assert encoding.categories["city"][-1] == "kiel"
    unseen = encoding.matrix(spec, [{**data[0], "city": "oslo"}])
    assert np.isnan(unseen[0, 1])
