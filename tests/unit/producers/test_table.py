"""Reading CSV files of the world."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from penstock.errors import UsageError
from producers.table import open_table


def write(tmp_path: Path, data: bytes | str, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(path: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    table = open_table(path)
    return table.columns, list(table.rows())


PLAIN = ("a", "b"), [["1", "x"], ["2", "y"]]


@pytest.mark.parametrize(
    "data",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\r\n1,x\r\n2,y",
        "a,b\r1,x\r2,y\r",
        "\ufeffa,b\n1,x\n2,y\n",
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        "a|b\n1|x\n2|y\n",
        '"a","b"\n"1","x"\n"2","y"\n',
        " a , b\n1, x\n2, y\n",
        "\n\na,b\n\n1,x\n\n2,y\n\n",
    ],
)
def test_the_same_table_in_many_writings(tmp_path: Path, data: str) -> None:
    assert read(write(tmp_path, data)) == PLAIN


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    columns, rows = read(write(tmp_path, "größe,b\né,1\n".encode(encoding)))
    assert columns == ("größe", "b")
    assert rows == [["é", "1"]]


def test_one_bad_byte_does_not_change_how_the_rest_is_read(tmp_path: Path) -> None:
    data = "a,b\né,1\n".encode() + b"\xe9,2\n" + "é,3\n".encode()
    assert [row[0] for row in read(write(tmp_path, data))[1]] == ["é", "é", "é"]


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_gzip_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path, gzip.compress(b"a,b\n1,x\n2,y\n"), name)) == PLAIN


def test_quotes_hold_delimiters_and_newlines(tmp_path: Path) -> None:
    assert read(write(tmp_path, 'a,b\n"1,\n2","say ""x"""\n'))[1] == [["1,\n2", 'say "x"']]


def test_a_pandas_index_column_gets_a_name(tmp_path: Path) -> None:
    assert read(write(tmp_path, ",a\n0,1\n"))[0] == ("unnamed_0", "a")


def test_ragged_rows_are_handed_on(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a,b\n1\n1,2,3\n"))[1] == [["1"], ["1", "2", "3"]]


@pytest.mark.parametrize(
    ("data", "comma"),
    [
        ("a;b\n1,5;x\n2,25;y\n", True),
        ("a;b\n1.5;x\n2.25;y\n", False),
        ("a;b\n1;x\n", False),
        ("a,b\n1.5,2\n", False),
        ("a\tb\n1,5\tx\n", True),
        ("a\tb\n1,234\tx\n", False),
        ("a;b\n1,234;x\n", True),
        ('a,b\n"1,5",x\n"2,7",y\n', True),
        ('a,b\n"1,234",x\n"2,345",y\n', False),
    ],
)
def test_decimal_comma(tmp_path: Path, data: str, comma: bool) -> None:
    assert open_table(write(tmp_path, data)).decimal_comma is comma


def test_commas_in_text_do_not_hide_the_semicolon(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "name;city;n\nA, B;X, Y;1\nC, D;Z, W;2\n"))
    assert table.delimiter == ";"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "empty"),
        ("  \n \n", "empty"),
        ("a,b\n", "no data rows"),
        ("1,2\n3,4\n", "not a header"),
        ("a,a\n1,2\n", "'a' occurs twice"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x01", "no CSV"),
        (bytes(range(1, 32)) * 20, "no CSV"),
        (gzip.compress(b"a,b\n1,2\n" * 9999, mtime=0)[:60], "damaged"),
        ('a,b\n1,"' + "x" * 17 * 1024 * 1024, "field larger"),
    ],
)
def test_bad_files_get_one_clear_line(tmp_path: Path, data: bytes | str, says: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(UsageError, match=says) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        open_table(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="directory"):
        open_table(tmp_path)


def test_an_unknown_column_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no column 'z'; the columns are a, b"):
        open_table(write(tmp_path, "a,b\n1,2\n")).position("z")


FUZZ = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_a_usage_error(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, data)
    try:
        table = open_table(path)
        rows = list(table.rows())
    except UsageError:
        return
    assert rows
    assert len(set(table.columns)) == len(table.columns)


@FUZZ
@given(st.text(alphabet=st.sampled_from('ab1,;\t|"\n\r .\ufeffé'), max_size=200))
def test_any_text_gives_rows_or_a_usage_error(tmp_path: Path, data: str) -> None:
    path = write(tmp_path, data)
    try:
        rows = list(open_table(path).rows())
    except UsageError:
        return
    assert all(isinstance(field, str) for row in rows for field in row)


@FUZZ
@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([",", ";", "\t", "|"]),
)
def test_what_a_csv_writer_writes_reads_back(tmp_path: Path, rows: list[list[str]], delimiter: str) -> None:
    import csv

    path = tmp_path / "w.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([["first", "second"], *rows])
    try:
        table = open_table(path)
    except UsageError:
        assume(False)  # mostly control characters: refused as no text
    assert table.columns == ("first", "second")
    assert list(table.rows()) == rows
