"""Metrics of blocks are those of the arrays they were counted from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online import metrics
from online.blocks import merged, merged_all
from online.evaluation import intervals, measures, roc_auc, roc_auc_bound, wilson
from online.scoring import decide
from online.tally import tally_of
from penstock.events import ScoreBlock, encode
from penstock.spec import Numeric, Pipeline

BINARY = Pipeline(name="b", task="binary", target="y", classes=("no", "yes"), features=(Numeric("a"),), threshold=0.4)
MULTI = Pipeline(name="m", task="multiclass", target="y", classes=("a", "b", "c"), features=(Numeric("x"),))
REGRESSION = Pipeline(name="r", task="regression", target="y", features=(Numeric("x"),))
Z = 1.959963984540054


def counted(pipeline, scores, outcomes, previous=None):
    tally = tally_of(pipeline)
    for score, outcome in zip(scores, outcomes, strict=True):
        tally.add(score, outcome, previous)
        previous = outcome
    return tally.block()


def exact(pipeline, scores, outcomes):
    """The same metrics, by the functions on arrays."""
    before, after = outcomes[:-1], outcomes[1:]
    if pipeline.task == "regression":
        actual, predicted = np.array(outcomes), np.array(scores)
        steps = np.diff(actual)
        return {
            "mae": metrics.mae(actual, predicted),
            "rmse": metrics.rmse(actual, predicted),
            "r2": metrics.r2(actual, predicted),
            "no_change_mae": float(np.abs(steps).mean()) if len(steps) else None,
            "no_change_rmse": float(np.sqrt((steps**2).mean())) if len(steps) else None,
            "mean_rmse": float(actual.std()),
        }
    codes = metrics.code_of(pipeline, outcomes)
    decided = metrics.code_of(pipeline, [decide(pipeline, score) for score in scores])
    table, classes = metrics.probabilities_of(pipeline, scores), len(pipeline.classes)
    accuracy = metrics.accuracy(codes, decided)
    no_change = metrics.accuracy(metrics.code_of(pipeline, before), metrics.code_of(pipeline, after))
    return {
        "accuracy": accuracy,
        "balanced_accuracy": metrics.balanced_accuracy(codes, decided, classes),
        "kappa": metrics.kappa(codes, decided, classes),
        "kappa_temporal": metrics.kappa_temporal(accuracy, no_change),
        "f1": metrics.f1(codes, decided, classes),
        "log_loss": metrics.log_loss(codes, table),
        "brier": metrics.brier(codes, table),
        "calibration_error": metrics.calibration_error(codes, table),
        "no_change_accuracy": no_change,
        "majority_accuracy": float(np.bincount(codes).max() / len(codes)),
    }


def check(pipeline, scores, outcomes):
    found = measures(pipeline, counted(pipeline, scores, outcomes))
    for name, value in exact(pipeline, scores, outcomes).items():
        assert found[name] == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9)), name
    return found


BINARY_ROWS = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["no", "yes"])), min_size=1, max_size=60)
TABLES = st.lists(
    st.tuples(st.tuples(*[st.floats(0.01, 1)] * 3), st.sampled_from("abc")),
    min_size=1,
    max_size=40,
)
NUMBERS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(-1000, 1000).map(float)), min_size=1, max_size=40)


def table_scores(rows):
    return [{name: p / sum(row) for name, p in zip("abc", row, strict=True)} for row, _ in rows]


@settings(max_examples=60, deadline=None)
@given(BINARY_ROWS)
def test_binary(rows):
    check(BINARY, [score for score, _ in rows], [outcome for _, outcome in rows])


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_multiclass(rows):
    check(MULTI, table_scores(rows), [outcome for _, outcome in rows])


@settings(max_examples=40, deadline=None)
@given(NUMBERS)
def test_regression(rows):
    scores, outcomes = [score for score, _ in rows], [value for _, value in rows]
    found = measures(REGRESSION, counted(REGRESSION, scores, outcomes))
    for name, value in exact(REGRESSION, scores, outcomes).items():
        assert found[name] == (None if value is None else pytest.approx(value, rel=1e-6, abs=1e-6)), name


@settings(max_examples=60, deadline=None)
@given(BINARY_ROWS)
def test_the_binned_area_is_within_its_bound_of_the_exact_one(rows):
    block = counted(BINARY, [score for score, _ in rows], [outcome for _, outcome in rows])
    codes = metrics.code_of(BINARY, [outcome for _, outcome in rows])
    area = metrics.roc_auc(codes, np.array([score for score, _ in rows]))
    if area is None:
        assert roc_auc(BINARY, block) is roc_auc_bound(BINARY, block) is None
    else:
        assert abs(roc_auc(BINARY, block) - area) <= roc_auc_bound(BINARY, block) + 1e-12


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.003])
def test_the_binned_area_of_many_scores_is_close_even_for_rare_events(rate):
    rng = np.random.default_rng(1)
    actual = rng.random(50_000) < rate
    logits = np.log(rate / (1 - rate)) + rng.normal(size=50_000) + 1.2 * actual
    scores = 1 / (1 + np.exp(-logits))
    block = counted(BINARY, scores.tolist(), ["yes" if a else "no" for a in actual])
    area = metrics.roc_auc(actual.astype(np.int64), scores)
    assert roc_auc(BINARY, block) == pytest.approx(area, abs=0.004)
    assert roc_auc_bound(BINARY, block) < 0.08


def test_the_multiclass_area_is_the_mean_over_one_versus_rest():
    rng = np.random.default_rng(2)
    table, outcomes = rng.dirichlet((1, 1, 1), 3000), list(rng.choice(list("ab"), 3000))
    scores = [dict(zip("abc", row.tolist(), strict=True)) for row in table]
    block = counted(MULTI, scores, outcomes)
    assert roc_auc(MULTI, block) == pytest.approx(metrics.roc_auc(metrics.code_of(MULTI, outcomes), table), abs=0.005)


@settings(max_examples=40, deadline=None)
@given(TABLES, st.integers(0, 40))
def test_parts_merge_to_the_whole(rows, cut):
    scores, outcomes = table_scores(rows), [outcome for _, outcome in rows]
    parts = [
        counted(MULTI, scores[:cut], outcomes[:cut]),
        counted(MULTI, scores[cut:], outcomes[cut:], previous=outcomes[cut - 1] if 0 < cut <= len(rows) else None),
    ]
    same(merged(*parts), counted(MULTI, scores, outcomes))


@settings(max_examples=40, deadline=None)
@given(NUMBERS, st.integers(0, 40))
def test_parts_of_a_regression_merge_to_the_whole(rows, cut):
    scores, values = [score for score, _ in rows], [value for _, value in rows]
    parts = [
        counted(REGRESSION, scores[:cut], values[:cut]),
        counted(REGRESSION, scores[cut:], values[cut:], previous=values[cut - 1] if 0 < cut <= len(rows) else None),
    ]
    same(merged(*parts), counted(REGRESSION, scores, values))


def same(found, expected):
    for name in ScoreBlock.__struct_fields__:
        got, wanted = getattr(found, name), getattr(expected, name)
        if isinstance(wanted, dict):
            assert list(got) == list(wanted), name
            for key in wanted:
                assert got[key] == (wanted[key] if isinstance(wanted[key], dict) else pytest.approx(wanted[key]))
        else:
            assert got == pytest.approx(wanted, rel=1e-9, abs=1e-6), name


def test_intervals_are_wilsons_and_normal():
    rng = np.random.default_rng(3)
    scores, happened = rng.random(500), rng.random(500) < 0.3
    block = counted(BINARY, scores.tolist(), ["yes" if h else "no" for h in happened])
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(block.correct, 500).proportion_ci(0.95, "wilson")
    found = intervals(BINARY, block)
    assert found["accuracy"] == pytest.approx((expected.low, expected.high), abs=1e-12)
    losses = -np.log(np.where(happened, scores, 1 - scores))
    half = Z * losses.std(ddof=1) / math.sqrt(500)
    assert found["log_loss"] == pytest.approx((losses.mean() - half, losses.mean() + half))
    assert all(low <= high for low, high in found.values())
    assert found["roc_auc"][0] < roc_auc(BINARY, block) < found["roc_auc"][1]


def test_intervals_cover():
    """200 samples of 300 examples: about 95 % of the intervals hold the true accuracy, area and RMSE."""
    rng = np.random.default_rng(4)
    held = {"accuracy": 0, "roc_auc": 0, "rmse": 0}
    for _ in range(200):
        happened = rng.random(300) < 0.5
        scores = 1 / (1 + np.exp(-rng.normal(size=300) - np.where(happened, 0.5, -0.5) + math.log(1.5)))
        found = intervals(BINARY, counted(BINARY, scores.tolist(), ["yes" if h else "no" for h in happened]))
        held["accuracy"] += found["accuracy"][0] <= 0.6914624612740131 <= found["accuracy"][1]
        held["roc_auc"] += found["roc_auc"][0] <= 0.7602499389065233 <= found["roc_auc"][1]
        errors = rng.normal(size=300).tolist()
        found = intervals(REGRESSION, counted(REGRESSION, errors, [0.0] * 300))
        held["rmse"] += found["rmse"][0] <= 1.0 <= found["rmse"][1]
    assert all(180 <= hits <= 199 for hits in held.values()), held


def test_wilson_of_no_error_is_no_certainty():
    assert wilson(100, 100, Z) == pytest.approx((0.9630, 1.0), abs=1e-4)
    assert wilson(0, 0, Z) is None


@pytest.mark.parametrize("pipeline", [BINARY, MULTI, REGRESSION], ids=lambda p: p.task)
def test_nothing_counted_is_nothing_known(pipeline):
    assert set(measures(pipeline, ScoreBlock()).values()) == {None}
    assert set(intervals(pipeline, ScoreBlock()).values()) == {None}
    assert merged_all([]) == ScoreBlock()


def test_a_record_without_class_counts_has_no_metrics_of_classes():
    for pipeline in (BINARY, MULTI):
        found = measures(pipeline, ScoreBlock(n=10, correct=5, log_loss=3.0, brier=1.0))
        assert {name for name, value in found.items() if value is not None} == {"accuracy", "log_loss", "brier"}


def test_one_class_and_constant_scores():
    found = measures(BINARY, counted(BINARY, [0.2] * 50, ["no"] * 50))
    assert found["roc_auc"] is found["kappa"] is found["kappa_temporal"] is None
    assert (found["accuracy"], found["majority_accuracy"], found["f1"]) == (1.0, 1.0, 0.0)
    assert measures(REGRESSION, counted(REGRESSION, [1.0] * 9, [1.0] * 9))["r2"] is None
    assert intervals(REGRESSION, counted(REGRESSION, [1.0] * 9, [1.0] * 9))["rmse"] == (0.0, 0.0)


def test_huge_values_stay_finite():
    block = counted(REGRESSION, [1e308, -1e308, 0.0], [-1e308, 1e308, 1e200])
    text = encode(block).decode()
    assert "null" not in text
    assert all(math.isfinite(value) for value in measures(REGRESSION, block).values())


def test_a_thousand_classes_make_no_huge_record():
    names = tuple(f"class-{index:03d}" for index in range(1000))
    pipeline = Pipeline(name="k", task="multiclass", target="y", classes=names, features=(Numeric("x"),))
    even = dict.fromkeys(names, 0.001)
    block = counted(pipeline, [even | {names[i]: 0.5} for i in range(100)], [names[2 * i] for i in range(100)])
    assert len(encode(block)) < 8_000
    found = measures(pipeline, block)
    assert found["roc_auc"] is None
    assert found["balanced_accuracy"] == pytest.approx(0.01)
    assert intervals(pipeline, block)["roc_auc"] is None
