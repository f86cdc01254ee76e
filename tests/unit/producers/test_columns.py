"""What a column holds."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.columns import as_numbers, auc, describe, gives_away


def kind(texts: list[str]) -> str:
    return describe("c", texts, decimal_comma=False).kind


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "2.5", "-3e2", ""], "numeric"),
        (["1"] * 98 + ["x"] * 2, "numeric"),
        (["1"] * 97 + ["x"] * 3, "text"),
        (["true", "False", "NA"], "boolean"),
        (["yes", "no"], "boolean"),
        (["0", "1"], "numeric"),
        (["yes", "no", "maybe"], "text"),
        (["", "NA", "?"], "empty"),
        (["2020-01-01", "2020-02-30x", "red"], "text"),
        (["19970930", "20011231"], "date"),
        (["19970930", "20011331"], "numeric"),
        (["1997", "1998"], "numeric"),
    ],
)
def test_kinds(texts: list[str], expected: str) -> None:
    assert kind(texts) == expected


@pytest.mark.parametrize(
    ("texts", "format_"),
    [
        (["2020-01-31", "2021-12-01"], "%Y-%m-%d"),
        (["31/01/2020", "01/12/2021"], "%d/%m/%Y"),
        (["1/31/2020", "12/1/2021"], "%m/%d/%Y"),
        (["30-Sep-97", "31-Oct-88"], "%d-%b-%y"),
        (["31.01.2020"], "%d.%m.%Y"),
        (["2020-01-31 10:00:00"], "%Y-%m-%d %H:%M:%S"),
        (["2020-01-31T10:00:00Z"], "%Y-%m-%dT%H:%M:%S%z"),
        (["2020-01-31T10:00:00.25"], "%Y-%m-%dT%H:%M:%S.%f"),
        (["Jan 31, 2020"], "%b %d, %Y"),
    ],
)
def test_date_formats(texts: list[str], format_: str) -> None:
    column = describe("d", [*texts, ""], decimal_comma=False)
    assert (column.date_format, column.other_format, column.missing) == (format_, None, 1)


def test_of_two_formats_the_one_in_file_order_is_taken() -> None:
    american = [f"{month}/{day}/2020" for month in (1, 2, 3) for day in (1, 5, 9)]
    column = describe("d", american, decimal_comma=False)
    assert (column.date_format, column.other_format) == ("%m/%d/%Y", "%d/%m/%Y")
    assert describe("d", ["01/02/2020"], decimal_comma=False).date_format == "%d/%m/%Y"


def test_bad_dates_are_counted() -> None:
    texts = [f"2020-01-{day:02}" for day in range(1, 29)] * 4 + ["soon"]
    column = describe("d", texts, decimal_comma=False)
    assert column.kind == "text"  # of 29 different texts one is bad: 3.4 %
    days = [f"20{year:02}-01-{day:02}" for year in range(10) for day in range(1, 29)]
    assert (describe("d", [*days, "soon"], decimal_comma=False).bad) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_chance_that_a_positive_scores_higher(rows: list[tuple[int, bool]]) -> None:
    ones = [score for score, positive in rows if positive]
    zeros = [score for score, positive in rows if not positive]
    expected = 0.5
    if ones and zeros:
        expected = sum((a > b) + 0.5 * (a == b) for a in ones for b in zeros) / (len(ones) * len(zeros))
    scores = np.array([score for score, _ in rows], dtype=float)
    assert auc(scores, np.array([positive for _, positive in rows])) == pytest.approx(expected)


def alone(texts: list[str], positive: list[bool]) -> float:
    column = describe("c", texts, decimal_comma=False)
    values = as_numbers(column, texts, decimal_comma=False)
    return gives_away(values, column.kind in ("numeric", "date"), np.array(positive))


def targets(rows: int = 2000) -> list[bool]:
    rng = random.Random(1)
    return [rng.random() < 0.3 for _ in range(rows)]


@pytest.mark.parametrize(
    "leak",
    [
        lambda y, r: str(2 * y + r.random()),  # by value, rising
        lambda y, r: str(-2 * y + r.random()),  # by value, falling
        lambda y, r: r.choice(["a", "b"]) if y else r.choice(["c", "d"]),  # by category
        lambda y, r: str(r.random()) if y else "",  # by missingness
        lambda y, r: str(r.random() + (5 if r.random() < 0.5 else -5)) if y else str(r.random()),  # by both ends
        lambda y, r: f"20{r.randint(10, 19)}-01-01" if y else f"20{r.randint(20, 29)}-01-01",  # by date
    ],
)
def test_leaks_are_seen(leak: Any) -> None:
    rng = random.Random(2)
    y = targets()
    assert alone([leak(one, rng) for one in y], y) > 0.995


@pytest.mark.parametrize(
    "honest",
    [
        lambda y, r: str(y + r.gauss(0, 1)),
        lambda _, r: str(r.random()),
        lambda _, r: str(r.randint(0, 900)) + "x",  # many categories never look like a leak by chance
        lambda *_: "same",
    ],
)
def test_honest_columns_are_not(honest: Any) -> None:
    rng = random.Random(2)
    y = targets()
    assert alone([honest(one, rng) for one in y], y) < 0.95


def test_few_rows_prove_nothing() -> None:
    assert alone([str(i) for i in range(18)], [i < 9 for i in range(18)]) == 0.5
