"""The additive model that reference models are."""

from __future__ import annotations

import numpy as np
import pytest

from online.detectors.additive_model import AdditiveModel, least_squares, logistic

NOTHING = np.empty((0, 1000), dtype=np.int64)


def uniform(features: int, seed: int = 0, examples: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (features, examples))


def error(model: AdditiveModel, numbers: np.ndarray, codes: np.ndarray, target: np.ndarray) -> float:
    return float(np.sqrt(np.mean((model.predict(numbers, codes)[:, 0] - target) ** 2)))


def curve(numbers: np.ndarray) -> np.ndarray:
    return np.asarray(2.0 * numbers[0] + np.abs(numbers[1]))


def test_it_learns_lines_and_curves() -> None:
    numbers, later = uniform(3), uniform(3, seed=1)
    model = AdditiveModel(numbers, NOTHING, curve(numbers)[:, None], least_squares)
    assert curve(later).std() > 1.0
    assert error(model, later, NOTHING, curve(later)) < 0.12


def test_it_learns_levels_of_categories_and_of_what_is_missing_or_rare() -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, (1, 1000))
    codes[0, :3] = (901, 902, 903)  # more values than cells are no trouble
    numbers = rng.uniform(size=(1, 1000))
    numbers[0, rng.random(1000) < 0.3] = np.nan
    target = np.where(codes[0] == 1, 3.0, 0.0) + np.where(np.isnan(numbers[0]), 2.0, 0.0)
    model = AdditiveModel(numbers, codes, target[:, None], least_squares)
    asked = model.predict(np.array([[0.5, np.nan, 0.5]]), np.array([[1, 0, 12345]]))
    assert asked[:2, 0] == pytest.approx([3.0, 2.0], abs=0.25)
    assert np.isfinite(asked).all()


def test_several_outputs_are_fitted_each_by_itself() -> None:
    numbers = uniform(2)
    both = np.stack((curve(numbers), -numbers[1]), axis=1)
    model = AdditiveModel(numbers, NOTHING, both, least_squares)
    for output in range(2):
        alone = AdditiveModel(numbers, NOTHING, both[:, [output]], least_squares)
        assert model.predict(numbers, NOTHING)[:, output] == pytest.approx(alone.predict(numbers, NOTHING)[:, 0])


def test_of_300_features_it_uses_those_that_tell_most() -> None:
    numbers = uniform(300)
    codes = np.random.default_rng(3).integers(0, 2, (30, 1000))
    target = 2.0 * numbers[250] + codes[20]
    model = AdditiveModel(numbers, codes, target[:, None], least_squares)
    assert error(model, numbers, codes, target) < 0.25 * target.std()


@pytest.mark.parametrize("value", [0.0, np.nan, 1e150])
def test_a_constant_or_missing_feature_tells_nothing(value: float) -> None:
    numbers = np.full((1, 1000), value)
    model = AdditiveModel(numbers, NOTHING, np.arange(1000.0)[:, None], least_squares)
    asked = model.predict(np.array([[-1e150, 0.0, 1e150, np.nan]]), NOTHING[:, :4])
    assert np.isfinite(asked).all()


def test_without_features_it_answers_with_the_mean() -> None:
    nothing = np.empty((0, 1000))
    model = AdditiveModel(nothing, NOTHING, np.arange(1000.0)[:, None], least_squares)
    assert model.predict(nothing[:, :2], NOTHING[:, :2]) == pytest.approx(np.full((2, 1), 499.5))


@pytest.mark.parametrize("classes", [1, 3])
def test_logistic_fits_find_a_slanted_boundary_that_least_squares_bends(classes: int) -> None:
    numbers, later = (np.random.default_rng(seed).normal(size=(2, 2000)) for seed in (5, 6))
    nothing = np.empty((0, 2000), dtype=np.int64)

    def labels(numbers: np.ndarray) -> np.ndarray:
        along = numbers[0] + 0.3 * numbers[1]
        return np.asarray((along > 0).astype(int) + (classes > 1) * (along > 0.5))

    truth, one_hot = labels(numbers), labels(numbers)[:, None] == np.arange(classes)
    targets = one_hot.astype(np.float64) if classes > 1 else truth[:, None].astype(np.float64)
    errors = {}
    for fit in (least_squares, logistic):
        outputs = AdditiveModel(numbers, nothing, targets, fit).predict(later, nothing)
        even = 0.0 if fit is logistic else 0.5
        answers = outputs.argmax(axis=1) if classes > 1 else outputs[:, 0] >= even
        errors[fit] = float((answers != labels(later)).mean())
    assert errors[logistic] < 0.07
    assert errors[logistic] < errors[least_squares]


def test_a_separable_problem_has_finite_weights() -> None:
    numbers = uniform(1)
    model = AdditiveModel(numbers, NOTHING, (numbers[0] > 0.0)[:, None].astype(np.float64), logistic)
    assert np.isfinite(model.predict(np.array([[-1e150, 1e150]]), NOTHING[:, :2])).all()
