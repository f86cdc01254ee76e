"""Rows of a table as requests and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.contract import decoder_for
from penstock.errors import ContractError, UsageError
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline
from producers.rows import table_rows
from producers.schedule import StreamRow, schedule

FEATURES = (Numeric("n"), Categorical("c"), Boolean("b"), Date("d"))


def pipeline(**changes: Any) -> Pipeline:
    given: dict[str, Any] = {"name": "p", "task": "binary", "target": "y", "features": FEATURES, "classes": ("0", "1")}
    return Pipeline(**given | changes)


def rows(tmp_path: Path, text: str, **changes: Any) -> list[StreamRow]:
    path = tmp_path / "t.csv"
    path.write_text(text)
    return list(table_rows(pipeline(**changes), path))


HEAD = "id,who,when,n,c,b,d,y,known\n"
ROW = "k1,ann,2020-01-01,1.5,red,yes,2020-01-02,1,2020-02-01\n"


def test_a_row_in_full(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, HEAD + ROW, id="id", entity="who", time="when", label_time="known")
    assert (row.row, row.id, row.entity) == (0, "k1", "ann")
    assert row.time_ms == 1_577_836_800_000
    assert row.label_time_ms == 1_580_515_200_000
    assert msgspec.json.decode(row.request) == {
        "id": "k1",
        "features": {"n": 1.5, "c": "red", "b": True, "d": "2020-01-02"},
        "entity": "ann",
        "event_time_ms": 1_577_836_800_000,
    }
    assert row.label is not None
    assert msgspec.json.decode(row.label) == {"id": "k1", "value": "1", "entity": "ann"}


def test_defaults_are_the_rows_index(tmp_path: Path) -> None:
    first, second = rows(tmp_path, HEAD + ROW + ROW)
    assert (first.id, first.entity, first.time_ms, first.label_time_ms) == ("0", "0", 0, None)
    assert (second.id, second.entity, second.time_ms) == ("1", "1", 1000)


def test_missing_values_are_null_and_a_missing_target_is_no_label(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, HEAD + "k,a,2020-01-01,NA,?,,null,-,\n")
    assert msgspec.json.decode(row.request)["features"] == {"n": None, "c": None, "b": None, "d": None}
    assert row.label is None
    decoder_for("requests", pipeline())(row.request)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("k,a,2020-01-01,abc,red,yes,2020-01-02,1,\n", "features.n"),
        ("k,a,2020-01-01,inf,red,yes,2020-01-02,1,\n", "features.n"),
        ("k,a,2020-01-01,1,red,maybe,2020-01-02,1,\n", "features.b"),
        ("k,a,2020-01-01,1,red,yes,tomorrow,1,\n", "features.d"),
        ("k,a,someday,1,red,yes,2020-01-02,1,\n", "event_time_ms"),
        ("k,a,2020-01-01,1\n", "features.n"),
        ("k,a,2020-01-01,1,red,yes,2020-01-02,1,,extra\n", "features.n"),
    ],
)
def test_a_bad_row_is_sent_and_its_reader_refuses_it(tmp_path: Path, line: str, field: str) -> None:
    bad, good = rows(tmp_path, HEAD + line + ROW, time="when")
    with pytest.raises(ContractError) as caught:
        decoder_for("requests", pipeline())(bad.request)
    assert caught.value.field == field
    decoder_for("requests", pipeline())(good.request)
    assert good.row == 1


def test_a_ragged_row_keeps_its_fields_for_who_mends_it(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, HEAD + "k,a,2020-01-01,1\n")
    assert msgspec.json.decode(row.request)["fields"] == ["k", "a", "2020-01-01", "1"]
    assert row.label is None


def test_a_missing_id_and_a_missing_time(tmp_path: Path) -> None:
    text = HEAD + ROW + ROW.replace("k1", "").replace("2020-01-01", "")
    first, second = rows(tmp_path, text, id="id", time="when")
    assert second.id == "row-1"
    assert second.time_ms == first.time_ms


def test_a_missing_entity_breaks_the_contract(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, HEAD + ROW.replace("ann", ""), entity="who")
    with pytest.raises(ContractError, match="entity"):
        decoder_for("requests", pipeline(entity="who"))(row.request)


@pytest.mark.parametrize(("written", "outcome"), [("1", "1"), ("1.0", "1"), ("0.0", "0"), (" 1 ", "1")])
def test_classes_in_other_writings(tmp_path: Path, written: str, outcome: str) -> None:
    (row,) = rows(tmp_path, HEAD + ROW.replace(",1,", f",{written},"))
    assert row.label is not None
    label: Any = decoder_for("labels", pipeline())(row.label)
    assert label.value == outcome


def test_an_unknown_class_is_refused_by_the_contract(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, HEAD + ROW.replace(",1,", ",perhaps,"))
    assert row.label is not None
    with pytest.raises(ContractError, match="perhaps"):
        decoder_for("labels", pipeline())(row.label)


def test_decimal_comma(tmp_path: Path) -> None:
    text = "n;c;b;d;y\n1,5;a;no;2020-01-01;2,25\n"
    (row,) = rows(tmp_path, text, task="regression", classes=())
    assert msgspec.json.decode(row.request)["features"]["n"] == 1.5
    assert row.label is not None
    assert msgspec.json.decode(row.label)["value"] == 2.25


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"target": "z"}, "z"),
        ({"id": "nr"}, "nr"),
        ({"entity": "e"}, "e"),
        ({"time": "t"}, "t"),
        ({"label_time": "lt"}, "lt"),
        ({"features": (Numeric("q"),)}, "q"),
    ],
)
def test_a_missing_column_is_named_at_the_call(tmp_path: Path, changes: dict[str, Any], column: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEAD + ROW)
    with pytest.raises(UsageError, match=f"no column '{column}'"):
        table_rows(pipeline(**changes), path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.sampled_from('01,;"\n -.eEnNa/:é'), max_size=120), st.sampled_from(["", "t"]))
def test_any_body_gives_a_schedule_or_a_usage_error(tmp_path: Path, body: str, time: str) -> None:
    path = tmp_path / "any.csv"
    path.write_text("n,t,y\n" + body)
    numbers = Pipeline(
        name="p", task="regression", target="y", features=(Numeric("n"),), time=time or None, id="t", entity="t"
    )
    try:
        ticks = list(schedule(table_rows(numbers, path), numbers))
    except UsageError:
        return
    requests = [message for tick in ticks for message in tick.messages if message.topic == "requests"]
    assert len(requests) == ticks[-1].row + 1
    check = decoder_for("requests", numbers)
    for message in requests:
        try:
            check(message.value)
        except ContractError:
            continue
