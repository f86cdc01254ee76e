from __future__ import annotations

import math

import numpy as np
import pytest

from online import metrics
from online.tally import block_of
from penstock.spec import Numeric, Pipeline

BINARY = Pipeline(name="b", task="binary", target="y", classes=("no", "yes"), features=(Numeric("a"),), threshold=0.4)
MULTI = Pipeline(name="m", task="multiclass", target="y", classes=("a", "b", "c"), features=(Numeric("x"),))
REGRESSION = Pipeline(name="r", task="regression", target="y", features=(Numeric("x"),))

sklearn = pytest.importorskip("sklearn.metrics")


def codes(seed, n=400, classes=2):
    return np.random.default_rng(seed).integers(0, classes, n)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_decisions_are_judged_as_by_scikit_learn(classes):
    actual, decided = codes(1, classes=classes), codes(2, classes=classes)
    decided[:250] = actual[:250]
    assert metrics.accuracy(actual, decided) == pytest.approx(sklearn.accuracy_score(actual, decided), abs=1e-14)
    assert metrics.balanced_accuracy(actual, decided, classes) == pytest.approx(
        sklearn.balanced_accuracy_score(actual, decided), abs=1e-14
    )
    assert metrics.kappa(actual, decided, classes) == pytest.approx(
        sklearn.cohen_kappa_score(actual, decided), abs=1e-14
    )
    average = "binary" if classes == 2 else "macro"
    assert metrics.f1(actual, decided, classes) == pytest.approx(
        sklearn.f1_score(actual, decided, average=average), abs=1e-14
    )


def test_probabilities_are_judged_as_by_scikit_learn():
    rng = np.random.default_rng(3)
    actual, scores = codes(3), np.round(rng.random(400), 2)  # rounded: many ties
    assert metrics.roc_auc(actual, scores) == pytest.approx(sklearn.roc_auc_score(actual, scores), abs=1e-13)
    inside = np.clip(scores, 1e-6, 1 - 1e-6)
    assert metrics.log_loss(actual, scores) == pytest.approx(sklearn.log_loss(actual, inside), abs=1e-13)
    assert metrics.brier(actual, scores) == pytest.approx(sklearn.brier_score_loss(actual, scores), abs=1e-13)


def test_multiclass_probabilities_are_judged_as_by_scikit_learn():
    rng = np.random.default_rng(4)
    actual, table = codes(5, classes=3), rng.dirichlet((1, 1, 1), 400)
    assert metrics.roc_auc(actual, table) == pytest.approx(
        sklearn.roc_auc_score(actual, table, multi_class="ovr", average="macro"), abs=1e-13
    )
    assert metrics.log_loss(actual, table) == pytest.approx(sklearn.log_loss(actual, table), abs=1e-6)
    assert metrics.brier(actual, table) == pytest.approx(
        float(np.mean(((table - np.eye(3)[actual]) ** 2).sum(axis=1))), abs=1e-14
    )


def test_values_are_judged_as_by_scikit_learn():
    rng = np.random.default_rng(6)
    actual = rng.normal(size=300)
    predicted = actual + rng.normal(size=300)
    assert metrics.mae(actual, predicted) == pytest.approx(sklearn.mean_absolute_error(actual, predicted))
    assert metrics.rmse(actual, predicted) == pytest.approx(sklearn.root_mean_squared_error(actual, predicted))
    assert metrics.r2(actual, predicted) == pytest.approx(sklearn.r2_score(actual, predicted))


def test_what_is_not_defined_is_none():
    none, same = np.array([], dtype=np.int64), np.zeros(5, dtype=np.int64)
    floats = np.array([])
    assert metrics.accuracy(none, none) is None
    assert metrics.balanced_accuracy(none, none, 2) is None
    assert metrics.kappa(none, none, 2) is None
    assert metrics.kappa(same, same, 2) is None
    assert metrics.f1(none, none, 2) is None
    assert metrics.f1(same, same, 2) == 0.0
    assert metrics.roc_auc(same, np.linspace(0, 1, 5)) is None
    assert metrics.roc_auc(none, np.zeros((0, 3))) is None
    assert metrics.log_loss(none, floats) is None
    assert metrics.brier(none, floats) is None
    assert metrics.calibration_error(none, floats) is None
    assert metrics.kappa_temporal(0.5, None) is metrics.kappa_temporal(0.5, 1.0) is None
    assert (metrics.mae(floats, floats), metrics.rmse(floats, floats), metrics.r2(floats, floats)) == (None,) * 3
    assert metrics.r2(np.ones(4), np.ones(4)) is None


def test_a_multiclass_auc_leaves_out_a_class_that_never_happened():
    actual = np.array([0, 1, 0, 1])
    table = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    assert metrics.roc_auc(actual, table) == 1.0


def test_a_certain_error_costs_a_bounded_log_loss():
    assert metrics.log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-math.log(1e-6))
    assert block_of(BINARY, 0.0, "yes").log_loss == pytest.approx(-math.log(1e-6))


def test_probabilities_of_no_scores_keep_their_shape():
    assert metrics.probabilities_of(BINARY, []).shape == (0,)
    assert metrics.probabilities_of(MULTI, []).shape == (0, 3)


def test_calibration_is_judged_over_ten_bins_of_equal_width():
    scores, actual = np.array([0.05, 0.06, 0.55, 0.95, 1.0]), np.array([0, 1, 1, 1, 1])
    expected = (abs(1 - 0.11) + abs(1 - 0.55) + abs(2 - 1.95)) / 5
    assert metrics.calibration_error(actual, scores) == pytest.approx(expected, abs=1e-15)
    table = np.array([[0.7, 0.2, 0.1], [0.2, 0.75, 0.05]])
    assert metrics.calibration_error(np.array([0, 0]), table) == pytest.approx(abs(1 - 1.45) / 2, abs=1e-15)


def test_kappa_temporal_is_zero_for_the_no_change_classifier():
    assert metrics.kappa_temporal(0.8, 0.8) == 0.0
    assert metrics.kappa_temporal(0.9, 0.8) == pytest.approx(0.5)
    assert metrics.kappa_temporal(0.7, 0.8) < 0.0
