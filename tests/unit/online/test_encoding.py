from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.encoding import CATEGORY_HORIZON, DISTINCT, MISSING, CategoryColumns, Encoder
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline

PIPELINE = Pipeline(
    name="mixed",
    task="binary",
    target="y",
    classes=("no", "yes"),
    features=(Numeric("a"), Boolean("b"), Categorical("c"), Date("d"), Numeric("e")),
)


def row(a=1.0, b=True, c="x", d="2024-02-29", e=0.0):
    return {"a": a, "b": b, "c": c, "d": d, "e": e}


def named(encoder, x):
    return dict(zip(encoder.columns, x.dense, strict=True))


def test_every_kind_of_feature_has_its_columns():
    encoder = Encoder(PIPELINE, 1)
    for i in range(100):
        encoder.learn(row(a=float(i), c="xy"[i % 2], d=f"2024-01-{i % 28 + 1:02d}"), (float(i % 2),))
    x = encoder.encode(row(a=99.0, d="2024-01-29"))
    assert encoder.columns == ("a", "e", "b", "d.year", "d.month", "d.weekday", "d.days", "c~0")
    assert len(x.numbers) == len(encoder.columns)
    assert x.dense is x.numbers
    assert x.array.tolist() == x.dense
    dense = named(encoder, x)
    assert dense["a"] > 1.5
    assert dense["b"] == 1.0
    assert dense["d.year"] == 0.0  # never varied
    assert dense["d.days"] > 1.0
    assert len(x.active) == 1
    assert x.length == pytest.approx(math.sqrt(sum(number**2 for number in x.numbers) + 1))


def test_missing_values_have_indicators_of_their_own_and_the_same_columns():
    encoder = Encoder(PIPELINE, 1)
    for i in range(50):
        encoder.learn(row(a=float(i)), (1.0,))
    nothing = encoder.encode(dict.fromkeys(row()))
    dense = named(encoder, nothing)
    assert dense["a"] == dense["d.month"] == dense["e"] == MISSING
    assert dense["b"] == 0.0
    numbers = dict(zip(encoder.columns, nothing.numbers, strict=True))
    assert numbers["a"] == numbers["d.month"] == 0.0
    # a, e, b and d; the missing category was never learned
    assert sorted(nothing.active) == [0, 1, 3, 4]


def test_a_missing_number_does_not_move_the_scale():
    encoder = Encoder(PIPELINE, 1)
    for i in range(50):
        encoder.learn(row(a=float(i)), (1.0,))
    before = encoder.encode(row(a=49.0)).numbers[0]
    encoder.learn(row(a=None), (1.0,))
    assert encoder.encode(row(a=49.0)).numbers[0] == before


def test_a_missing_category_is_a_category():
    encoder = Encoder(PIPELINE, 1)
    for i in range(200):
        encoder.learn(row(c=None if i % 2 else "x"), (float(i % 2),))
    missing, present = encoder.encode(row(c=None)), encoder.encode(row(c="x"))
    assert missing.dense[-1] > present.dense[-1] + 1.0
    assert set(missing.active) != set(present.active)


def test_category_columns_are_bounded_and_later_values_share_hashed_ones():
    encoder = Encoder(PIPELINE, 1)
    for i in range(5000):
        encoder.learn(row(c=f"v{i}"), (1.0,))
    columns = {column for i in range(5000) for column in encoder.encode(row(c=f"v{i}")).active}
    assert len(columns) == 2 * DISTINCT
    assert max(columns) < encoder.indicators == 5 + 2 * DISTINCT
    assert len(pickle.dumps(encoder)) < 60_000


def test_an_unseen_category_is_scored_and_leaves_no_trace():
    encoder = Encoder(PIPELINE, 1)
    for i in range(100):
        encoder.learn(row(c="xyz"[i % 3]), (float(i % 2),))
    before = pickle.dumps(encoder)
    assert encoder.encode(row(c="never")).active == []
    assert pickle.dumps(encoder) == before


def test_target_codes_order_categories_by_their_mean_target():
    encoder = Encoder(PIPELINE, 1)
    for i in range(900):
        value = "lmh"[i % 3]
        encoder.learn(row(c=value), (float(i % 10 < {"l": 1, "m": 5, "h": 9}[value]),))
    codes = [encoder.encode(row(c=value)).dense[-1] for value in "lmh"]
    assert codes == sorted(codes)
    assert codes[2] - codes[0] > 1.0


def test_scales_follow_the_stream_after_they_learn_fewer_rows():
    encoder = Encoder(PIPELINE, 1)
    for i in range(12_000):
        encoder.learn(row(a=float(i % 10)), (0.0,))
    for i in range(60_000):
        encoder.learn(row(a=50.0 + i % 10), (0.0,))
    assert encoder.encode(row(a=54.5)).numbers[0] == pytest.approx(0.0, abs=0.1)
    assert encoder.encode(row(a=59.5)).numbers[0] > 1.5


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "a": st.none() | st.floats(-1e150, 1e150),
                "b": st.none() | st.booleans(),
                "c": st.none() | st.text(max_size=5),
                "d": st.none() | st.dates().map(str),
                "e": st.none() | st.floats(-1, 1),
            }
        ),
        min_size=1,
        max_size=40,
    )
)
def test_encoding_is_pure_finite_and_of_one_width(rows):
    encoder = Encoder(PIPELINE, 1)
    for index, each in enumerate(rows):
        before = pickle.dumps(encoder)
        x = encoder.encode(each)
        assert pickle.dumps(encoder) == before
        assert len(x.dense) == len(x.numbers) == len(encoder.columns)
        assert all(math.isfinite(value) for value in (*x.dense, *x.numbers, x.length))
        assert all(0 <= column < encoder.indicators for column in x.active)
        encoder.learn(each, (float(index % 2),))


def test_category_codes_follow_the_stream():
    columns = CategoryColumns(0, 1)
    for target in (0.0, 1.0):
        for _ in range(4 * int(CATEGORY_HORIZON)):
            columns.learn("x", (target,))
    assert columns.rates(columns.column("x"), [0.5])[0] > 0.85
