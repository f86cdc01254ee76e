"""Gates on losses whose truth is known, and error rates of the improvement gate by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from penstock.spec import Numeric, Pipeline
from retraining.dataset import Row
from retraining.gates import (
    Comparison,
    choose,
    compare,
    improvement_gate,
    incumbents,
    recorded,
)

BINARY = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))
REGRESSION = replace(BINARY, task="regression", classes=())


def losses(**columns: np.ndarray) -> Comparison:
    return Comparison([], dict(columns))


def test_a_clear_gain_passes_and_says_its_figures() -> None:
    rng = np.random.default_rng(0)
    before = rng.exponential(0.5, 400)
    gate = improvement_gate(BINARY, losses(online=before, forest=before * 0.8), "forest", "online", 3)
    assert gate.passed
    assert gate.value == pytest.approx(0.2)
    assert "of online on 400 rows: +20.0%" in gate.detail


def test_a_gain_below_the_margin_is_refused_however_sure() -> None:
    before = np.full(400, 0.5)
    gate = improvement_gate(BINARY, losses(online=before, forest=before * 0.995), "forest", "online", 1)
    assert gate.passed is False


def test_a_large_but_uncertain_gain_is_refused() -> None:
    rng = np.random.default_rng(1)
    before = np.full(120, 0.5)
    after = 0.45 + rng.normal(0, 1.0, 120)
    gate = improvement_gate(BINARY, losses(online=before, forest=after - after.mean() + 0.45), "forest", "online", 1)
    assert gate.value == pytest.approx(0.1)
    assert gate.passed is False


def test_a_worse_candidate_is_refused() -> None:
    before = np.random.default_rng(2).exponential(0.5, 400)
    assert improvement_gate(BINARY, losses(online=before, f=before * 1.2), "f", "online", 1).passed is False


def test_too_few_common_rows_or_none_at_all_decide_nothing() -> None:
    before, after = np.full(400, np.nan), np.full(400, 0.1)
    before[:50] = 0.5
    gate = improvement_gate(BINARY, losses(v1=before, f=after), "f", "v1", 1)
    assert (gate.passed, gate.value) == (False, None)
    assert "only 50 rows have scores of both f and v1" in gate.detail
    assert improvement_gate(BINARY, losses(f=after), "f", "v1", 1).detail == "no recorded score of v1"


def test_equal_models_are_promoted_at_most_as_often_as_the_confidence_allows() -> None:
    rng, passed, trials = np.random.default_rng(3), 0, 600
    for _ in range(trials):
        table = {name: rng.exponential(0.5, 400) for name in ("a", "b", "c", "online")}
        comparison = losses(**table)
        best = choose(comparison, ["a", "b", "c"])
        passed += improvement_gate(BINARY, comparison, best, "online", 3).passed is True
    assert passed / trials < 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def test_scores_are_compared_where_they_were_recorded() -> None:
    rows = [Row(str(i), i, {"x": 1.0}, "1", {"online": 0.9} | ({"v1": 0.8} if i < 3 else {})) for i in range(5)]
    assert recorded(rows, "v1") == [0.8, 0.8, 0.8, None, None]
    comparison = compare(BINARY, rows, {name: recorded(rows, name) for name in ("online", "v1", "v0")})
    assert set(comparison.losses) == {"online", "v1"}
    np.testing.assert_allclose(comparison.losses["v1"], [-np.log(0.8)] * 3 + [np.nan] * 2)
    assert [result.accuracy for result in comparison.results] == [1.0, 1.0]


def test_multiclass_and_regression_losses() -> None:
    many = replace(BINARY, task="multiclass", classes=("a", "b", "c"))
    row = Row("1", 1, {"x": 1.0}, "b", {})
    comparison = compare(many, [row], {"m": [{"a": 0.2, "b": 0.5, "c": 0.3}]})
    assert comparison.results[0].log_loss == pytest.approx(np.log(2.0))
    assert comparison.results[0].accuracy == 1.0
    comparison = compare(REGRESSION, [row._replace(outcome=3.0)], {"m": [1.0]})
    assert (comparison.results[0].mae, comparison.results[0].rmse) == (2.0, 2.0)


def test_the_online_model_is_always_beaten_or_kept() -> None:
    assert incumbents("online") == ["online"]
    assert incumbents("v3") == ["v3", "online"]
