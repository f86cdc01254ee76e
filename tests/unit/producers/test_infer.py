"""A pipeline inferred from a table, its file, and back."""

from __future__ import annotations

import ast
import csv
import io
import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.contract import decoder_for
from penstock.errors import UsageError
from penstock.spec import Boolean, Categorical, Date, Numeric, load_pipeline
from producers.infer import Inferred, infer_pipeline, pipeline_name
from producers.rows import table_rows
from producers.template import quote, render

DATA = Path(os.environ.get("PENSTOCK_DATASETS_DIR", Path(__file__).parents[4] / "shared" / "data"))


def table(tmp_path: Path, columns: dict[str, list[Any]], name: str = "t.csv", delimiter: str = ",") -> Path:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path = tmp_path / name
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def columns(rows: int = 200, seed: int = 1) -> dict[str, list[Any]]:
    rng = random.Random(seed)
    return {
        "nr": list(range(rows)),
        "who": [f"client {rng.random()}" for _ in range(rows)],
        "x": [round(rng.gauss(0, 1), 3) for _ in range(rows)],
        "colour": [rng.choice(["red", "green", ""]) for _ in range(rows)],
        "new": [rng.choice(["Yes", "No"]) for _ in range(rows)],
        "day": [f"{rng.randint(13, 28)}/{rng.randint(1, 12):02}/2020" for _ in range(rows)],
        "nothing": [""] * rows,
        "y": [rng.choice(["good", "bad"]) for _ in range(rows)],
    }


def round_trip(path: Path, inferred: Inferred) -> None:
    """The rendered file loads to the same pipeline, and every row keeps its contract."""
    file = path.parent / f"{inferred.pipeline.name}.py"
    file.write_text(render(inferred), encoding="utf-8")
    assert load_pipeline(file) == inferred.pipeline
    check_request = decoder_for("requests", inferred.pipeline)
    check_label = decoder_for("labels", inferred.pipeline)
    for row in islice(table_rows(inferred.pipeline, path), 3000):
        check_request(row.request)
        if row.label is not None:
            check_label(row.label)


def test_a_mixed_table(tmp_path: Path) -> None:
    path = table(tmp_path, columns(), name="My Loans (2).csv")
    inferred = infer_pipeline(path, "y")
    pipeline = inferred.pipeline
    assert pipeline.name == "my_loans_2"
    assert (pipeline.task, pipeline.classes) == ("binary", ("bad", "good"))
    assert pipeline.features == (
        Numeric("x"),
        Categorical("colour", values=("green", "red")),
        Boolean("new"),
        Date("day", format="%d/%m/%Y"),
    )
    assert set(pipeline.ignored) == {"nr", "who", "nothing"}
    assert pipeline.time is None
    for column in pipeline.ignored:
        assert any(note.startswith(f"ignored {column}: ") for note in inferred.notes)
    round_trip(path, inferred)


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["0", "1"], "binary", ("0", "1")),
        (["1.0", "0.0"], "binary", ("0", "1")),
        (["true", "false"], "binary", ("false", "true")),
        (["YES", "no"], "binary", ("no", "YES")),
        (["1", "2"], "binary", ("2", "1")),
        (["a", "b"], "binary", ("a", "b")),
        (["0.5", "1.5"], "binary", ("0.5", "1.5")),
        (["10", "9", "1"], "multiclass", ("1", "9", "10")),
        (["x", "z", "y", "NA"], "multiclass", ("x", "y", "z")),
        ([str(n) for n in range(20)], "multiclass", tuple(str(n) for n in range(20))),
        ([str(n) for n in range(21)], "regression", ()),
        (["0.5", "1.5", "2.5"], "regression", ()),
    ],
)
def test_targets(tmp_path: Path, values: list[str], task: str, classes: tuple[str, ...]) -> None:
    rng = random.Random(3)
    path = table(
        tmp_path, {"x": [rng.random() for _ in range(420)], "y": [values[i % len(values)] for i in range(420)]}
    )
    inferred = infer_pipeline(path, "y")
    assert (inferred.pipeline.task, inferred.pipeline.classes) == (task, classes)
    round_trip(path, inferred)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (["a"] * 60, "only one value, 'a'"),
        (["1", "1.0", ""] * 20, "only one value, '1'"),
        ([""] * 60, "no value in any row"),
        ([f"text {i}" for i in range(60)], "more than 20 different texts"),
    ],
)
def test_targets_that_cannot_be_learned(tmp_path: Path, y: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        infer_pipeline(table(tmp_path, {"x": list(range(60)), "y": y}), "y")


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"target": "z"}, "no column 'z'; the columns are nr, who, x"),
        ({"time": "z"}, "no column 'z'"),
        ({"entity": "z"}, "no column 'z'"),
        ({"protected": ["z"]}, "no column 'z'"),
        ({"include": ["z"]}, "no column 'z'"),
        ({"include": ["y"]}, "cannot be --include"),
        ({"include": ["nothing"]}, "no value in any row"),
        ({"time": "colour"}, "does not read as a time"),
    ],
)
def test_wishes_that_do_not_fit(tmp_path: Path, wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        infer_pipeline(table(tmp_path, columns()), **{"target": "y"} | wishes)


def test_wishes_override_reasons(tmp_path: Path) -> None:
    path = table(tmp_path, columns())
    inferred = infer_pipeline(path, "y", time="day", entity="who", protected=["colour"], include=["nr", "who"])
    pipeline = inferred.pipeline
    assert [feature.name for feature in pipeline.features][:2] == ["nr", "who"]
    assert (pipeline.time, pipeline.time_format, pipeline.entity) == ("day", "%d/%m/%Y", "who")
    assert pipeline.protected == ("colour",)
    assert "nr" not in pipeline.ignored
    round_trip(path, inferred)


@pytest.mark.parametrize(("start", "format_"), [(1_577_836_800, "epoch_s"), (1_577_836_800_000, "epoch_ms")])
def test_a_numeric_time_is_no_feature(tmp_path: Path, start: int, format_: str) -> None:
    path = table(tmp_path, columns() | {"at": [start + 7 * i // 2 for i in range(200)]})
    inferred = infer_pipeline(path, "y", time="at")
    assert inferred.pipeline.time_format == format_
    assert "at" in inferred.pipeline.ignored
    first = next(table_rows(inferred.pipeline, path))
    assert first.time_ms == 1_577_836_800_000


def test_a_leak_is_ignored_unless_included(tmp_path: Path) -> None:
    data = columns()
    data["paid back"] = ["" if y == "bad" else "2021-05-05" for y in data["y"]]
    path = table(tmp_path, data)
    assert "AUC 1.0" in infer_pipeline(path, "y").pipeline.ignored["paid back"]
    kept = infer_pipeline(path, "y", include=["paid back"]).pipeline
    assert kept.feature("paid back") == Date("paid back")


def test_rows_without_a_label_do_not_hide_a_leak(tmp_path: Path) -> None:
    data = columns(400)
    data["paid back"] = [round(random.Random(i).random() + (y == "bad"), 3) for i, y in enumerate(data["y"])]
    data["y"] = ["" if i % 2 else y for i, y in enumerate(data["y"])]
    inferred = infer_pipeline(table(tmp_path, data), "y")
    assert "paid back" in inferred.pipeline.ignored
    assert inferred.pipeline.classes == ("bad", "good")


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_leaks_of_other_tasks(tmp_path: Path, task: str) -> None:
    rng = random.Random(1)
    y: list[Any] = [rng.choice("abc") if task == "multiclass" else rng.random() for _ in range(600)]
    x = [rng.random() for _ in y]
    leak = ["abc".index(v) for v in y] if task == "multiclass" else [2 * v + 1 for v in y]
    assert set(infer_pipeline(table(tmp_path, {"x": x, "copy": leak, "y": y}), "y").pipeline.ignored) == {"copy"}


def test_a_table_of_leaks_alone_is_still_a_pipeline(tmp_path: Path) -> None:
    path = table(
        tmp_path, {"nr": list(range(100)), "x": [i % 2 + 0.5 for i in range(100)], "y": [i % 2 for i in range(100)]}
    )
    inferred = infer_pipeline(path, "y")
    assert [feature.name for feature in inferred.pipeline.features] == ["x"]
    assert any("kept after all: x" in note for note in inferred.notes)
    only_ids = infer_pipeline(table(tmp_path, {"nr": list(range(30)), "y": [i % 2 for i in range(30)]}), "y")
    assert only_ids.pipeline.features == (Numeric("nr"),)
    with pytest.raises(UsageError, match="nothing to learn from"):
        infer_pipeline(table(tmp_path, {"y": ["a", "b"]}), "y")


def test_ragged_rows_bad_labels_and_the_decimal_comma_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i % 7},5;{i % 2}" for i in range(200)]
    path.write_text("x;y\n" + "\n".join([*rows, "1,5", "2,5;oops"]) + "\n")
    inferred = infer_pipeline(path, "y")
    assert inferred.pipeline.classes == ("0", "1")
    assert inferred.pipeline.features == (Numeric("x"),)
    told = " | ".join(inferred.notes)
    assert "1 of 202 rows have too few or too many fields" in told
    assert "1 values of the target y are no numbers" in told
    assert "decimal comma" in told


def test_long_tables_are_sampled_and_classes_still_come_from_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.sample.SAMPLED_FIELDS", 10)
    rows = 5000
    y = ["rare" if i == 4321 else "ab"[i % 2] for i in range(rows)]
    path = table(
        tmp_path, {"x": [i % 10 for i in range(rows)], "c": ["q" if i % 3 else "r" for i in range(rows)], "y": y}
    )
    inferred = infer_pipeline(path, "y")
    assert inferred.pipeline.classes == ("a", "b", "rare")
    assert inferred.pipeline.feature("c") == Categorical("c")
    assert any("sample of 1000 of 5000 rows" in note for note in inferred.notes)


@pytest.mark.parametrize(
    ("file", "name"),
    [("Loans.csv.gz", "loans"), ("2020 data.csv", "data_2020_data"), ("ümläut.csv", "ml_ut"), ("___.csv", "data")],
)
def test_names(file: str, name: str) -> None:
    assert pipeline_name(Path(file)) == name


def ruff_formats(text: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "120", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def test_the_file_is_laid_out_as_ruff_would(tmp_path: Path) -> None:
    data = columns()
    rng = random.Random(4)
    data['he said "no"'] = [rng.choice(["it's", 'a "b"', "c\\d"]) for _ in range(200)]
    data["x" * 130] = [rng.random() for _ in range(200)]
    data["z" * 95] = [rng.choice("ab") for _ in range(200)]
    data["long"] = [f"category number {rng.randint(0, 11)}" for _ in range(200)]
    path = table(tmp_path, data)
    inferred = infer_pipeline(path, "y", protected=["x" * 130, "long"], time="day")
    round_trip(path, inferred)
    text = render(inferred)
    assert ruff_formats(text) == text


@given(st.text(max_size=20))
def test_quoted_text_is_a_literal_of_itself(text: str) -> None:
    assert ast.literal_eval(quote(text)) == text


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=12).map(str.strip)
CELLS = st.one_of(
    st.sampled_from(["", "NA", "yes", "no", "true", "1", "0", "red", "2020-01-02", "03/04/2020", "1,5", "1.5", "-"]),
    st.integers(-9, 9).map(str),
    st.floats(allow_nan=True).map(str),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=6),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.lists(NAMES, min_size=2, max_size=5, unique=True), st.sampled_from([",", ";", "\t"]))
def test_any_table_gives_a_loadable_pipeline_or_a_usage_error(
    tmp_path: Path, data: st.DataObject, names: list[str], delimiter: str
) -> None:
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=25))
    path = tmp_path / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([names, *rows])
    try:
        inferred = infer_pipeline(path, names[-1])
    except UsageError:
        return
    file_ = tmp_path / "any.py"
    file_.write_text(render(inferred), encoding="utf-8")
    assert load_pipeline(file_) == inferred.pipeline
    assert len(list(table_rows(inferred.pipeline, path))) >= 1


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "target", "ignored"),
    [
        ("sba_loans_22k", "default", {"LoanNr_ChkDgt", "ChgOffDate"}),
        ("taiwan_credit", "default", {"ID"}),
        ("elec2", "class", set()),
        ("noaa_weather", "target", set()),
        ("bike_demand", "class", set()),
    ],
)
def test_the_real_data_sets(tmp_path: Path, name: str, target: str, ignored: set[str]) -> None:
    source = DATA / f"{name}.csv.gz"
    if not source.is_file():
        pytest.skip(f"{source} is not there: set PENSTOCK_DATASETS_DIR")
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    inferred = infer_pipeline(path, target)
    assert inferred.pipeline.task == "binary"
    assert set(inferred.pipeline.ignored) == ignored
    round_trip(path, inferred)
    text = render(inferred)
    assert ruff_formats(text) == text
