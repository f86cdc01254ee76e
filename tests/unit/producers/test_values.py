"""From text to JSON values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec import Boolean, Categorical, Date, Numeric
from producers.values import is_missing, parse_boolean, parse_number, parser_for, time_parser


@pytest.mark.parametrize("text", ["", " ", "NA", "n/a", "null", "None", "NaN", "?", "-", " nan ", "#N/A", "NaT"])
def test_usual_spellings_of_missing(text: str) -> None:
    assert is_missing(text)
    for feature in (Numeric("x"), Categorical("x"), Boolean("x"), Date("x")):
        assert parser_for(feature, decimal_comma=False)(text) is None


@pytest.mark.parametrize("text", ["0", "no", "nano", "none at all", "--x", "N"])
def test_values_that_only_look_missing(text: str) -> None:
    assert not is_missing(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1.0), (" 1.5 ", 1.5), ("-2e3", -2000.0), ("1,234.5", 1234.5), ("12,345", 12345.0), ("+7", 7.0)],
)
def test_numbers(text: str, number: float) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text", ["abc", "1_000", "inf", "-Infinity", "1e999", "1,23", "12,34,567", "1.2.3", "0x10", ""]
)
def test_texts_that_are_no_numbers(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,5", 1.5), ("-0,25", -0.25), ("1.234,5", 1234.5), ("1.234.567", 1234567.0), ("0.125", 0.125), (",5", 0.5)],
)
def test_numbers_with_a_decimal_comma(text: str, number: float) -> None:
    assert parse_number(text, decimal_comma=True) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_reads_back(value: float) -> None:
    assert parse_number(repr(value)) == value


def test_a_bad_number_stays_text_so_that_the_contract_refuses_it() -> None:
    assert parser_for(Numeric("x"), decimal_comma=False)("12 kg") == "12 kg"


@pytest.mark.parametrize(("text", "value"), [("Yes", True), ("0", False), ("TRUE", True), ("n", False), ("x", "x")])
def test_booleans(text: str, value: object) -> None:
    assert parse_boolean(text) is value or parse_boolean(text) == value


@pytest.mark.parametrize(
    ("format_", "text", "expected"),
    [
        (None, "1970-01-02", 86_400_000),
        (None, "1969-12-31T23:59:59Z", -1000),
        (None, "2020-01-01T00:00:00+01:00", 1_577_833_200_000),
        (None, "1577836800", 1_577_836_800_000),
        (None, "1577836800000", 1_577_836_800_000),
        ("epoch_s", "12", 12_000),
        ("epoch_ms", "12", 12),
        ("%d-%b-%y", "30-Sep-97", 875_577_600_000),
        ("%d/%m/%Y", "02/01/1970", 86_400_000),
        (None, "soon", None),
        ("%Y", "19x", None),
    ],
)
def test_times(format_: str | None, text: str, expected: int | None) -> None:
    assert time_parser(format_)(text) == expected


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001 - naive is the case
def test_iso_times_keep_their_milliseconds(moment: datetime) -> None:
    expected = int((moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() // 0.001)
    parsed = time_parser(None)(moment.isoformat())
    assert parsed is not None
    assert abs(parsed - expected) <= 1
