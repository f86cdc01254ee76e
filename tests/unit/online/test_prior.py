from __future__ import annotations

from online.prior import PriorModel
from penstock.spec import Numeric, Pipeline

FEATURES = (Numeric("a"),)


def test_priors_by_task():
    binary = Pipeline(name="b", task="binary", target="y", classes=("no", "yes"), features=FEATURES)
    multi = Pipeline(name="m", task="multiclass", target="y", classes=("a", "b", "c", "d"), features=FEATURES)
    regression = Pipeline(name="r", task="regression", target="y", features=FEATURES)
    rows = [{"a": 1.0}, {"a": None}]
    assert PriorModel(binary).score_many(rows) == [0.5, 0.5]
    assert PriorModel(multi).score_many(rows) == [dict.fromkeys("abcd", 0.25)] * 2
    assert PriorModel(regression).score_many(rows) == [0.0, 0.0]
