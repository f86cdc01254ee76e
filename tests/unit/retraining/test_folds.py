"""Folds are cut in time order, and nothing is learned from the rows that are scored."""

from __future__ import annotations

import numpy as np

from retraining.folds import Fitting, fit_one, score_fold, training_of
from tests.unit.retraining.test_candidates import made


def test_windows_grow_in_time_order_and_the_last_holds_all_rows() -> None:
    pipeline, rows = made("binary", 200)
    training = training_of(pipeline, rows, ["ordinal", "scaled"])
    for cuts in training.cuts.values():
        assert [(cut.fitted, len(cut.matrix)) for cut in cuts] == [(80, 120), (120, 160), (160, 200), (200, 200)]


def test_an_encoding_knows_nothing_of_the_rows_that_are_scored() -> None:
    pipeline, rows = made("binary", 200)
    rows = [row._replace(features={**row.features, "c": "late"}) if at >= 80 else row for at, row in enumerate(rows)]
    first, second, *_ = training_of(pipeline, rows, ["ordinal"]).cuts["ordinal"]
    assert "late" not in first.encoding.categories["c"]
    assert "late" in second.encoding.categories["c"]


def test_folds_whose_earlier_rows_are_of_one_class_are_left_out() -> None:
    pipeline, rows = made("binary", 200)
    rows = [row._replace(outcome="0") if at < 130 else row for at, row in enumerate(rows)]
    cuts = training_of(pipeline, rows, ["ordinal"]).cuts["ordinal"]
    assert [cut.fitted for cut in cuts] == [160, 200]


def test_a_task_scores_the_later_rows_of_its_cut() -> None:
    pipeline, rows = made("multiclass", 200)
    training = training_of(pipeline, rows, ["scaled"])
    task = Fitting("logistic_regression", "scaled", {"C": 1.0}, 1)
    table = score_fold(training, task)
    assert table.shape == (40, 3)
    np.testing.assert_allclose(table.sum(axis=1), 1.0)
    assert fit_one(training, task._replace(cut=3)).held.shape[0] == 0
