"""Segments and fairness in a report, from logs that are made by hand."""

from __future__ import annotations

import pytest

from penstock.cli.evaluation import History, Rows, Scored
from penstock.cli.quality import quality
from penstock.events import Evidence, Example, Finding, Prediction
from penstock.spec import Categorical, DriftPolicy, Numeric, Pipeline

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=(Categorical("sex"), Numeric("a")),
    segments=("sex",),
    protected=("sex",),
    drift=DriftPolicy(look_every=10),
)


def scored(row, sex, score, value):
    prediction = Prediction(
        id=str(row),
        entity="e",
        event_time_ms=row,
        features={"sex": sex, "a": 1.0},
        version="online",
        generation=0,
        score=score,
        decision="1" if score >= 0.5 else "0",
    )
    return Scored(row, Example(id=str(row), prediction=prediction, value=value, label_time_ms=row), row)


def evidence(row, ratio, p_value=1.0, n_reference=500):
    finding = Finding(
        detector="demographic_parity",
        kind="fairness",
        feature="sex",
        statistic=ratio,
        effect=0.0,
        p_value=p_value,
        n_reference=n_reference,
        n_current=200,
        measures={"n:f": 120.0, "rate:f": 0.8, "n:m": 80.0, "groups_too_small": 1},
    )
    return row, Evidence(
        stage="monitor", partition=0, seen=row, record_id=str(row), event_time_ms=row, generation=0, findings=[finding]
    )


def history(items, looks=()):
    rows = Rows(list(range(100)), {str(row): row for row in range(100)})
    return History(rows, items, [], [], list(looks), [], len(items), 0)


def test_segments_are_of_all_rows():
    items = [scored(row, "fm"[row % 3 == 0], 0.9 if row % 4 else 0.2, "1") for row in range(47)]
    found = quality(PIPELINE, history(items))["segments"]["sex"]
    assert {value: entry["n"] for value, entry in found.items()} == {"f": 31, "m": 16}
    assert found["m"]["accuracy"] == pytest.approx(12 / 16)
    assert found["f"]["roc_auc"] is None  # one class only


def test_fairness_is_as_of_the_last_look_and_when_it_was_worst():
    looks = [evidence(10, 0.9), evidence(20, 0.7), evidence(30, 0.95), evidence(40, 1.0, n_reference=0)]
    entry = quality(PIPELINE, history([], looks))["fairness"]["sex"]["demographic_parity"]
    assert (entry["least_ratio"], entry["least_ratio_position"], entry["ratio"]) == (0.7, 20, None)
    assert entry["groups"] == {"f": {"n": 120.0, "rate": 0.8}, "m": {"n": 80.0}}
    assert entry["measures"] == {"groups_too_small": 1}
