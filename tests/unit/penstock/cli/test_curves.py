"""Rolling quality, as it is drawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.curves import POINTS, quality_curves
from penstock.cli.evaluation import History, Rows, Scored
from penstock.events import Example, Prediction
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="toy", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))
REGRESSION = Pipeline(name="toy", task="regression", target="y", features=(Numeric("x"),))


def history(pairs, version="online", shadow=None):
    scored = []
    for row, (score, value) in enumerate(pairs):
        prediction = Prediction(
            id=str(row),
            entity=str(row),
            event_time_ms=row,
            features={"x": 0.0},
            version=version,
            generation=0,
            score=score,
            decision="1",
            shadow=shadow or {},
        )
        scored.append(
            Scored(row, Example(id=str(row), prediction=prediction, value=value, label_time_ms=row), row * 10)
        )
    times = [row * 10 for row in range(len(pairs))]
    labels = [(item.label_ms + 1, item.example.value) for item in scored]
    return History(Rows(times, {str(row): row for row in range(len(pairs))}), scored, labels, [], [], [], len(pairs), 0)


def test_nothing_gives_empty_curves():
    assert [curve.points for curve in quality_curves(PIPELINE, history([]))] == [[], [], []]


def test_the_window_forgets():
    right, wrong = (0.9, "1"), (0.9, "0")
    served, online, known = quality_curves(PIPELINE, history([wrong] * 10 + [right] * 10), window=10)
    assert served.points == online.points
    assert dict(served.points)[9] == 0.0
    assert dict(served.points)[14] == 0.5
    assert dict(served.points)[19] == 1.0
    assert dict(known.points)[19] == pytest.approx(0.9)


def test_the_online_model_counts_where_it_was_scored():
    served, online, _ = quality_curves(PIPELINE, history([(0.9, "1")] * 20, version="v1"), window=10)
    assert served.points
    assert online.points == []
    _, online, _ = quality_curves(PIPELINE, history([(0.9, "1")] * 20, "v1", {"online": 0.1}), window=10)
    assert {value for _, value in online.points} == {0.0}


def test_a_regression_has_absolute_errors():
    served, _, _ = quality_curves(REGRESSION, history([(1.0, 3.0)] * 20), window=10)
    assert {value for _, value in served.points} == {2.0}


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("01")), max_size=60), st.integers(1, 30))
def test_every_point_is_a_share_at_a_row_of_the_stream(pairs, window):
    for curve in quality_curves(PIPELINE, history(pairs), window):
        assert len(curve.points) <= POINTS
        assert all(0 <= row < len(pairs) and 0.0 <= value <= 1.0 for row, value in curve.points)
        assert [row for row, _ in curve.points] == sorted({row for row, _ in curve.points})
