"""Figures of scores whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, r2_score, recall_score, roc_auc_score

from penstock.spec import Numeric, Pipeline
from retraining.dataset import Row
from retraining.figures import figures

BINARY = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))


def rows_of(outcomes: list[str] | list[float]) -> list[Row]:
    return [Row(str(at), at, {"x": 0.0}, outcome, {}) for at, outcome in enumerate(outcomes)]


def test_binary_figures_are_those_of_scikit_learn_and_lie_in_their_intervals() -> None:
    rng = np.random.default_rng(0)
    actual = rng.integers(2, size=300)
    scores = np.clip(0.3 * actual + 0.7 * rng.random(300), 0.0, 1.0)
    found = figures(BINARY, scores.tolist(), rows_of([str(each) for each in actual]))
    decided = (scores >= 0.5).astype(int)
    expected = {
        "accuracy": float((decided == actual).mean()),
        "roc_auc": roc_auc_score(actual, scores),
        "precision": precision_score(actual, decided),
        "recall": recall_score(actual, decided),
        "f1": f1_score(actual, decided),
    }
    for name, value in expected.items():
        figure = found[name]
        assert figure.value == pytest.approx(value)
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < figure.value < figure.high
    # A proportion's interval by the normal approximation.
    half = 1.96 * (expected["accuracy"] * (1 - expected["accuracy"]) / 300) ** 0.5
    assert found["accuracy"].high - found["accuracy"].low == pytest.approx(2 * half, rel=0.25)  # type: ignore[operator]


def test_several_classes_are_means_over_those_that_happened() -> None:
    many = replace(BINARY, task="multiclass", classes=("a", "b", "c"))
    rng = np.random.default_rng(1)
    actual = rng.integers(3, size=200)
    table = rng.dirichlet((1.0, 1.0, 1.0), size=200)
    table[np.arange(200), actual] += 0.4
    table /= table.sum(axis=1, keepdims=True)
    scores = [dict(zip("abc", row, strict=True)) for row in table.tolist()]
    found = figures(many, scores, rows_of(["abc"[code] for code in actual]))
    decided = table.argmax(axis=1)
    assert found["precision"].value == pytest.approx(precision_score(actual, decided, average="macro"))
    assert found["recall"].value == pytest.approx(recall_score(actual, decided, average="macro"))


def test_numbers_have_an_r2_unless_they_never_change() -> None:
    regression = replace(BINARY, task="regression", classes=())
    rng = np.random.default_rng(2)
    actual = rng.normal(size=200)
    scores = actual + rng.normal(scale=0.3, size=200)
    found = figures(regression, scores.tolist(), rows_of(actual.tolist()))
    assert found["r2"].value == pytest.approx(r2_score(actual, scores))
    assert found["mae"].value == pytest.approx(float(np.abs(scores - actual).mean()))
    assert "r2" not in figures(regression, [1.0, 2.0], rows_of([1.0, 1.0]))


def test_what_one_class_does_not_define_is_left_out() -> None:
    found = figures(BINARY, [0.2, 0.9], rows_of(["1", "1"]))
    assert "roc_auc" not in found
    assert found["recall"].value == 0.5
    assert str(found["recall"]) == "0.5 (0 to 1 at 95%)"
