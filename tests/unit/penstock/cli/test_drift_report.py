"""Tables of two ranges, and Evidently's view of them."""

import sys

import numpy as np
import pytest

from penstock.cli.drift_report import compare_tables, drifted, render
from penstock.cli.drift_table import columns_of, table_of
from penstock.errors import DependencyError
from penstock.events import Example, Prediction, Request, encode
from penstock.log.port import Record
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline

FEATURES = (Numeric("x"), Numeric("score"), Categorical("c"), Boolean("b"), Date("d"))
BINARY = Pipeline(name="toy", task="binary", target="y", features=FEATURES, classes=("0", "1"))
MULTI = Pipeline(name="toy", task="multiclass", target="y", features=FEATURES, classes=("a", "b", "c"))
REGRESSION = Pipeline(name="toy", task="regression", target="y", features=FEATURES)
ROW = {"x": 1, "score": 2.5, "c": "red", "b": True, "d": "2026-01-01"}


def records(topic, events):
    values = [event if isinstance(event, bytes) else encode(event) for event in events]
    return [Record(topic, 0, offset, 0, b"k", value) for offset, value in enumerate(values)]


def prediction(features, **score):
    said = {"decision": "1", **score}
    return Prediction(id="a", entity="a", event_time_ms=0, features=features, version="online", generation=0, **said)


def test_requests_have_the_features():
    empty = dict.fromkeys(ROW)
    frame, broken = table_of(
        BINARY, "requests", records("requests", [Request(id="a", features=ROW), Request(id="b", features=empty), b"{"])
    )
    assert broken == 1
    assert set(frame.columns) == set(ROW)
    assert frame["x"].tolist()[0] == 1.0
    assert frame["b"].tolist()[0] == "True"
    assert frame.iloc[1].isna().all()


def test_predictions_say_what_was_answered_beside_a_feature_of_that_name():
    frame, _ = table_of(BINARY, "predictions", records("predictions", [prediction(ROW, score=0.75)]))
    assert frame.loc[0, ["score", "score_", "decision"]].tolist() == [2.5, 0.75, "1"]
    shares = {"a": 0.5, "b": 0.25, "c": 0.25}
    frame, _ = table_of(MULTI, "predictions", records("predictions", [prediction(ROW, scores=shares, decision="a")]))
    assert frame.loc[0, ["score_ a", "score_ b", "score_ c"]].tolist() == [0.5, 0.25, 0.25]


def test_examples_say_what_happened_once():
    said = prediction(ROW, score=3.0, decision=3.0)
    first = Example(id="a", prediction=said, value=4.0, label_time_ms=0)
    again = Example(id="a", prediction=said, value=9.0, label_time_ms=0, revision=1)
    frame, _ = table_of(REGRESSION, "examples", records("examples", [first, again]))
    assert frame["outcome"].tolist() == [4.0]
    assert "decision" not in frame.columns


@pytest.mark.parametrize("pipeline", [BINARY, MULTI, REGRESSION])
@pytest.mark.parametrize("topic", ["requests", "predictions", "examples"])
def test_an_empty_table_has_the_columns(pipeline, topic):
    frame, _ = table_of(pipeline, topic, [])
    columns = columns_of(pipeline, topic)
    assert list(frame.columns) == [*columns.numeric, *columns.categorical]


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "evidently", None)
    frame, _ = table_of(BINARY, "requests", records("requests", [Request(id="a", features=ROW)]))
    with pytest.raises(DependencyError, match=r"pip install 'penstock\[reports\]'") as caught:
        compare_tables(frame, frame, columns_of(BINARY, "requests"))
    assert caught.value.exit_code == 3


def test_evidently_reads_the_tables():
    """One column moves; one is constant, one holds nothing, one has a category per row."""
    random = np.random.default_rng(5)

    def drawn(shift):
        return [
            Request(id=f"{n}", features={"x": x, "score": 1.0, "c": f"c{n}", "b": n % 2 == 0, "d": None})
            for n, x in enumerate(random.normal(shift, 1.0, 300).tolist())
        ]

    columns = columns_of(BINARY, "requests")
    reference, current = (table_of(BINARY, "requests", records("requests", drawn(shift)))[0] for shift in (0.0, 2.0))
    report = compare_tables(current, reference, columns)
    found = drifted(report.json)
    assert set(found["columns"]) == {"x", "score", "c", "b"}
    assert found["columns"]["x"]["value"] < 1e-6
    assert found["columns"]["score"]["value"] == 1.0
    assert found["drifted"] == 1
    assert "<html" in render(report, ".html")
    assert render(report, ".json").startswith("{")
