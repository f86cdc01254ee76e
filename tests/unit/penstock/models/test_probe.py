from __future__ import annotations

import pytest

from penstock.contract import check_features
from penstock.models.probe import largest_difference, probe_rows
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline

PIPELINE = Pipeline(
    name="p",
    task="regression",
    target="y",
    features=(
        Numeric("ranged", 0, 10),
        Numeric("free"),
        Numeric("floor", low=5),
        Categorical("named", ("x", "y")),
        Categorical("any"),
        Boolean("flag"),
        Date("day", "%d.%m.%Y"),
    ),
)


def test_rows_keep_the_contract_and_repeat() -> None:
    rows = probe_rows(PIPELINE)
    assert len(rows) == 256
    assert [check_features(PIPELINE, row) for row in rows] == rows == probe_rows(PIPELINE)
    assert rows != probe_rows(PIPELINE, seed=1)


def test_rows_reach_beyond_what_is_declared_and_leave_values_out() -> None:
    rows = probe_rows(PIPELINE)
    ranged = [row["ranged"] for row in rows]
    assert any(value is not None and value < 0 for value in ranged)
    assert any(value is not None and value > 10 for value in ranged)
    assert {row["named"] for row in rows} == {"x", "y", "never seen", None}


def test_the_largest_difference_is_over_rows_and_classes() -> None:
    assert largest_difference([0.1, 0.2], [0.1, 0.2]) == 0.0
    assert largest_difference([0.1, 0.2], [0.1, 0.5]) == pytest.approx(0.3)
    assert largest_difference([{"a": 0.5, "b": 0.5}], [{"a": 0.25, "b": 0.75}]) == 0.25
    for one, other in (([0.1], []), ([{"a": 1.0}], [{"b": 1.0}]), ([{"a": 1.0}], [1.0])):
        with pytest.raises(ValueError, match=r"argument|classes"):
            largest_difference(one, other)
