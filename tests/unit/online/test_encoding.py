from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.encoding import (
    CATEGORY_HORIZON,
    CLIP,
    DISTINCT,
    MISSING,
    WARM_UP,
    CategoryColumns,
    Encoder,
    RobustScale,
)
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


def test_scale_matches_the_plain_mean_and_spread_of_ordinary_numbers():
    scale = RobustScale()
    values = [math.sin(i) * 3 + 7 for i in range(2000)]
    for value in values:
        scale.update(value)
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    assert scale.mean == pytest.approx(mean, rel=1e-9)
    assert scale.spread == pytest.approx(spread, rel=1e-9)


@pytest.mark.parametrize("position", [3, WARM_UP + 5, 500])
def test_an_outlier_of_a_billion_hardly_moves_the_scale(position):
    plain, spoilt = RobustScale(), RobustScale()
    for i in range(1000):
        value = float(i % 17)
        plain.update(value)
        spoilt.update(1e9 if i == position else value)
    assert spoilt.standardise(8.0) == pytest.approx(plain.standardise(8.0), abs=0.3)
    assert 0.5 < spoilt.spread / plain.spread < 2.0
    assert spoilt.standardise(1e9) == CLIP


def test_a_constant_column_that_starts_to_move_is_scaled_afresh():
    scale = RobustScale()
    for _ in range(15_000):
        scale.update(5.0)
    assert scale.standardise(5.0) == 0.0
    for i in range(3000):
        scale.update(100.0 + i % 10)
    assert scale.standardise(104.5) == pytest.approx(0.0, abs=0.01)
    assert scale.spread == pytest.approx(2.87, abs=0.01)


def test_a_change_of_unit_is_followed():
    scale = RobustScale()
    for i in range(12_000):
        scale.update(float(i % 10))
    for i in range(500):
        scale.update(1000.0 * (i % 9 + 1))
    assert scale.standardise(5000.0) == pytest.approx(0.0, abs=0.1)
    assert scale.standardise(9000.0) - scale.standardise(1000.0) == pytest.approx(3.1, abs=0.2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=120))
def test_scales_are_finite_whatever_the_numbers(values):
    scale = RobustScale()
    for value in values:
        assert -CLIP <= scale.standardise(value) <= CLIP
        scale.update(value)
        assert math.isfinite(scale.mean)
        assert math.isfinite(scale.spread)


def test_every_kind_of_feature_has_its_keys():
    encoder = Encoder(PIPELINE, 1)
    for i in range(100):
        encoder.learn(row(a=float(i), c="xy"[i % 2], d=f"2024-01-{i % 28 + 1:02d}"), (float(i % 2),))
    x = encoder.encode(row(a=99.0, d="2024-01-29"))
    assert list(x.dense) == ["a", "e", "b", "d.year", "d.month", "d.weekday", "d.days", "c~0"]
    assert len(x.dense) == encoder.width
    assert x.linear["c=x"] == 1.0
    assert "c=y" not in x.linear
    assert x.linear["a"] > 1.5
    assert x.linear["b"] == 1.0
    assert x.linear["d.year"] == 0.0  # never varied
    assert x.linear["d.days"] > 1.0


def test_missing_values_have_indicators_and_the_same_dense_keys():
    encoder = Encoder(PIPELINE, 1)
    for i in range(50):
        encoder.learn(row(a=float(i)), (1.0,))
    nothing = encoder.encode(dict.fromkeys(row()))
    assert list(nothing.dense) == list(encoder.encode(row()).dense)
    assert nothing.dense["a"] == nothing.dense["d.month"] == MISSING
    assert nothing.dense["b"] == 0.0
    assert {"a__missing", "b__missing", "d__missing", "e__missing"} <= set(nothing.linear)
    assert "a" not in nothing.linear


def test_a_missing_number_does_not_move_the_scale():
    encoder = Encoder(PIPELINE, 1)
    for i in range(50):
        encoder.learn(row(a=float(i)), (1.0,))
    before = encoder.encode(row(a=49.0)).linear["a"]
    encoder.learn(row(a=None), (1.0,))
    assert encoder.encode(row(a=49.0)).linear["a"] == before


def test_a_missing_category_is_a_category():
    encoder = Encoder(PIPELINE, 1)
    for i in range(200):
        encoder.learn(row(c=None if i % 2 else "x"), (float(i % 2),))
    missing, present = encoder.encode(row(c=None)), encoder.encode(row(c="x"))
    assert missing.dense["c~0"] > present.dense["c~0"] + 1.0
    assert set(missing.linear) != set(present.linear)


def test_category_columns_are_bounded_and_later_values_share_hashed_ones():
    encoder = Encoder(PIPELINE, 1)
    for i in range(5000):
        encoder.learn(row(c=f"v{i}"), (1.0,))
    columns = {name for i in range(5000) for name in encoder.encode(row(c=f"v{i}")).linear if name[:2] in ("c=", "c#")}
    assert len(columns) <= 2 * DISTINCT
    assert "c=v0" in columns
    assert len(pickle.dumps(encoder)) < 60_000


def test_an_unseen_category_is_scored_and_leaves_no_trace():
    encoder = Encoder(PIPELINE, 1)
    for i in range(100):
        encoder.learn(row(c="xyz"[i % 3]), (float(i % 2),))
    before = pickle.dumps(encoder)
    x = encoder.encode(row(c="never"))
    assert not [name for name in x.linear if name.startswith(("c=", "c#"))]
    assert pickle.dumps(encoder) == before


def test_target_codes_order_categories_by_their_mean_target():
    encoder = Encoder(PIPELINE, 1)
    for i in range(900):
        value = "lmh"[i % 3]
        encoder.learn(row(c=value), (float(i % 10 < {"l": 1, "m": 5, "h": 9}[value]),))
    codes = [encoder.encode(row(c=value)).dense["c~0"] for value in "lmh"]
    assert codes == sorted(codes)
    assert codes[2] - codes[0] > 1.0


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
def test_encoding_is_pure_finite_and_constant_in_its_dense_keys(rows):
    encoder = Encoder(PIPELINE, 1)
    keys = list(encoder.encode(rows[0]).dense)
    for index, each in enumerate(rows):
        before = pickle.dumps(encoder)
        x = encoder.encode(each)
        assert pickle.dumps(encoder) == before
        assert list(x.dense) == keys
        assert all(math.isfinite(value) for value in (*x.dense.values(), *x.linear.values()))
        encoder.learn(each, (float(index % 2),))


def test_category_codes_follow_the_stream():
    columns = CategoryColumns("c", 1)
    for target in (0.0, 1.0):
        for _ in range(4 * int(CATEGORY_HORIZON)):
            columns.learn("x", (target,))
    assert columns.rates(columns.column("x"), [0.5])[0] > 0.85
