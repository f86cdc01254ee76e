"""A calibration is learned where it helps on later folds, and left out where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from online.calibration import FLOOR
from retraining.calibrating import Held, calibrate, learn_isotonic, learn_sigmoid


def folds(rows: int, classes: int, sharpness: float, shift: float = 0.0, seed: int = 0) -> list[Held]:
    """Three folds whose scores are ``sharpness`` times as sure as they should be, the first class's shifted."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(3):
        raw = rng.normal(size=(rows, classes))
        truth = softmax(raw, axis=1)
        happened = (truth.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, classes - 1)
        raw[:, 0] += shift
        made.append(Held(softmax(sharpness * raw, axis=1), happened.astype(np.int64)))
    return made


def loss(table: np.ndarray, classes: np.ndarray) -> float:
    return float(-np.log(table[np.arange(len(table)), classes]).mean())


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_that_are_too_sure_are_calibrated(classes: int) -> None:
    *known, fresh = [*folds(300, classes, 3.0), *folds(2000, classes, 3.0, seed=1)[:1]]
    found = calibrate(known)
    assert found.calibration is not None
    assert found.calibration.kind == "sigmoid"
    assert found.calibration.slope == pytest.approx(1 / 3, abs=0.08)
    assert loss(found.calibration.calibrated(fresh.table), fresh.classes) < loss(fresh.table, fresh.classes) - 0.2


def test_the_shift_that_class_weights_cause_is_undone() -> None:
    known = folds(2000, 3, 1.0, shift=1.5)
    found = learn_sigmoid(known)
    assert found.slope == pytest.approx(1.0, abs=0.1)
    assert found.shifts[0] - np.mean(found.shifts[1:]) == pytest.approx(-1.5, abs=0.2)


@pytest.mark.parametrize("classes", [2, 3])
def test_good_scores_are_left_alone_and_never_made_worse_on_later_folds(classes: int) -> None:
    for seed in range(6):
        known = folds(400, classes, 1.0, seed=seed)
        found = calibrate(known)
        plain = np.concatenate([fold.table for fold in known[1:]]), np.concatenate([fold.classes for fold in known[1:]])
        assert found.loss <= loss(*plain) + 1e-12
        if found.calibration is None:
            assert found.loss == pytest.approx(loss(*plain))


def test_isotonic_regression_straightens_what_no_sigmoid_can() -> None:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(3):
        score = rng.random(3000)
        truth = 0.1 + 0.8 * (score > 0.6)
        happened = (rng.random(3000) < truth).astype(np.int64)
        made.append(Held(np.stack([1 - score, score], axis=1), happened))
    found = calibrate(made)
    assert found.calibration is not None
    assert found.calibration.kind == "isotonic"
    table = found.calibration.calibrated(np.array([[0.8, 0.2], [0.1, 0.9]]))
    assert table[:, 1].tolist() == pytest.approx([0.1, 0.9], abs=0.05)


def test_isotonic_scores_are_never_certain_and_add_up_to_one() -> None:
    table = np.array([[1.0, 0.0], [0.9, 0.1], [0.2, 0.8], [0.0, 1.0]] * 50)
    found = learn_isotonic([Held(table, (table[:, 1] > 0.5).astype(np.int64))])
    mapped = found.calibrated(table)
    assert mapped.min() >= 1 / 202 - 1e-9
    np.testing.assert_allclose(mapped.sum(axis=1), 1.0)


def test_scores_that_point_the_wrong_way_are_not_turned_around() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(500)
    happened = (rng.random(500) > expit(6 * score - 3)).astype(np.int64)
    held = Held(np.stack([1 - score, score], axis=1), happened)
    assert learn_sigmoid([held]).slope == 0.0


def test_one_fold_judges_nothing_and_a_class_that_never_came_costs_the_floor() -> None:
    (fold, *_) = folds(100, 2, 3.0)
    assert calibrate([fold]).calibration is None
    certain = Held(np.array([[1.0, 0.0]] * 10), np.ones(10, dtype=np.int64))
    assert calibrate([certain]).loss == pytest.approx(-np.log(FLOOR))


def test_very_many_classes_are_left_alone() -> None:
    assert calibrate(folds(100, 51, 3.0)).calibration is None
