from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from online.bayes import HORIZON, GaussianBayes


def test_it_separates_two_gaussians_almost_as_well_as_their_true_densities():
    rng = np.random.default_rng(1)
    model, hits, best = GaussianBayes(2, 2), 0, 0
    for index in range(3000):
        label = int(rng.random() < 0.3)
        x = rng.normal(size=2) + (np.array([1.5, -1.0]) if label else 0.0)
        if index >= 1000:
            logs = model.log_proba(x)
            hits += int(logs[1] > logs[0]) == label
            margin = x @ np.array([1.5, -1.0]) - (1.5**2 + 1.0) / 2 + math.log(0.3 / 0.7)
            best += int(margin > 0) == label
        model.learn(x, label)
    assert hits >= best - 25


def test_scoring_changes_nothing():
    model = GaussianBayes(3, 4)
    model.learn(np.ones(4), 1)
    before = pickle.dumps(model)
    model.log_proba(np.zeros(4))
    assert pickle.dumps(model) == before


def test_before_anything_was_learned_all_classes_are_equal():
    logs = GaussianBayes(3, 2).log_proba(np.array([0.3, -2.0]))
    assert logs == pytest.approx([logs[0]] * 3)


def test_a_constant_feature_keeps_the_variance_floor():
    model = GaussianBayes(2, 1)
    for _ in range(1000):
        model.learn(np.array([0.0]), 0)
    assert np.isfinite(model.log_proba(np.array([10.0]))).all()


def test_old_rows_fade():
    model = GaussianBayes(2, 1)
    for value in (-2.0, 2.0):
        for _ in range(int(3 * HORIZON)):
            model.learn(np.array([value]), 0)
    assert model._means[0, 0] > 1.0
    assert model._counts.max() <= HORIZON
