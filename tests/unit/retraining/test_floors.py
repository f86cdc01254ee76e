"""Absolute floors: exceeded or not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.errors import SpecError
from penstock.spec import Gates, Numeric, Pipeline
from retraining.figures import Figure
from retraining.floors import floor_gates

BINARY = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))
FOUND = {
    name: Figure(value, value - 0.02, value + 0.02)
    for name, value in (("accuracy", 0.9), ("roc_auc", 0.95), ("precision", 0.82), ("recall", 0.79), ("f1", 0.8))
}


def test_each_floor_that_is_set_has_a_verdict() -> None:
    gates = Gates(min_accuracy=0.85, min_roc_auc=0.85, min_precision=0.8, min_recall=0.8, min_f1=0.8)
    results = floor_gates(replace(BINARY, gates=gates), FOUND)
    assert [(result.name, result.value, result.threshold, result.passed) for result in results] == [
        ("min_accuracy", 0.9, 0.85, True),
        ("min_roc_auc", 0.95, 0.85, True),
        ("min_precision", 0.82, 0.8, True),
        ("min_recall", 0.79, 0.8, False),
        ("min_f1", 0.8, 0.8, False),  # to reach it is not to exceed it
    ]
    assert results[3].detail == "recall 0.79 (0.77 to 0.81 at 95%), above 0.8 wanted"
    assert floor_gates(BINARY, FOUND) == []


def test_a_floor_may_be_reported_only() -> None:
    gates = Gates(min_recall=0.8)
    assert [result.passed for result in floor_gates(replace(BINARY, gates=gates), FOUND, applied=False)] == [None]


def test_a_figure_that_is_not_defined_does_not_pass() -> None:
    (result,) = floor_gates(replace(BINARY, gates=Gates(min_roc_auc=0.5)), {})
    assert (result.passed, result.value) == (False, None)
    assert "not defined" in result.detail


def test_a_ceiling_is_to_stay_below() -> None:
    numbers = replace(BINARY, task="regression", classes=(), gates=Gates(min_r2=0.2, max_mae=1.5))
    results = floor_gates(numbers, {"r2": Figure(0.3, None, None), "mae": Figure(1.5, None, None)})
    assert [(result.name, result.passed) for result in results] == [("min_r2", True), ("max_mae", False)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gates": Gates(max_mae=1.0)}, "gates.max_mae says nothing about a binary task"),
        (
            {"task": "regression", "classes": (), "gates": Gates(min_f1=0.5)},
            "gates.min_f1 says nothing about a regression",
        ),
        ({"gates": Gates(exempt={"x": "why"})}, "gates exempt 'x', which is not a protected attribute"),
    ],
)
def test_gates_that_do_not_fit_the_pipeline_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        replace(BINARY, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"min_accuracy": 1.2},
        {"min_disparate_impact": -0.1},
        {"max_mae": 0.0},
        {"max_p99_ms": -1.0},
        {"confidence": 1.0},
        {"min_r2": 1.0},
        {"max_artifact_bytes": 0},
        {"min_recall": float("nan")},
    ],
)
def test_gates_that_nothing_can_reach_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=f"gates: {next(iter(values))}"):
        Gates(**values)  # type: ignore[arg-type]
