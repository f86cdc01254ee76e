"""Reading a table from a CSV file of the world: compressed or not, any usual encoding, delimiter and decimal sign."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, cast

from penstock.errors import UsageError
from producers.values import is_missing, parse_number

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_BYTES = 65_536
SNIFFED_ROWS = 200
SNIFFED_NUMBERS = 2000
#: Longest text in one field, in characters. Python's own limit of 128 Ki refuses tables with a column of documents.
LONGEST_FIELD = 16 * 1024 * 1024

_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")
_DECIMAL_DOT = re.compile(r"\s*[+-]?\d*\.\d+\s*")
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\s*")
_GZIP_MAGIC = b"\x1f\x8b"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


csv.field_size_limit(LONGEST_FIELD)

#: Bytes that are no UTF-8 are taken as Latin-1, one by one: one bad byte never changes how the rest is read.
codecs.register_error("penstock.latin-1", _as_latin_1)


@dataclass(frozen=True, slots=True)
class Table:
    """A table in a file: its header, and how its rows are written."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    decimal_comma: bool

    def rows(self) -> Iterator[list[str]]:
        """The data rows, as they are; one with another number of fields than the header is ragged, not an error.

        Lines of nothing but white space are no rows.

        Raises:
            UsageError: the file cannot be read to its end.
        """
        rows = _records(self.path, self.delimiter)
        next(rows, None)
        return rows

    def position(self, column: str) -> int:
        """Where ``column`` is. Raises ``UsageError``, listing the columns, where it is not."""
        try:
            return self.columns.index(column)
        except ValueError:
            raise UsageError(
                f"{self.path}: no column {column!r}; the columns are {', '.join(self.columns[:40])}"
            ) from None


def open_table(path: Path) -> Table:
    """Look at the file's beginning: compression, encoding, delimiter, decimal sign, header.

    Raises:
        UsageError: it is missing, a directory, empty or not text, has no header, no data rows, or a column twice.
    """
    if path.is_dir():
        raise UsageError(f"{path}: a directory; name a CSV file in it")
    with _reading(path), _open_bytes(path) as file:
        head = file.read(SNIFFED_BYTES)
    if not head.strip():
        raise UsageError(f"{path}: the file is empty")
    _refuse_binary(path, head)
    delimiter = _sniff_delimiter(_complete_lines(head))
    records = _records(path, delimiter)
    header = next(records, None)
    if header is None:
        raise UsageError(f"{path}: the file is empty")
    columns = _check_header(path, header)
    sample = list(islice(records, SNIFFED_NUMBERS))
    if not sample:
        raise UsageError(f"{path}: a header but no data rows")
    return Table(path, columns, delimiter, _has_decimal_comma(sample, delimiter))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What can go wrong while bytes are read becomes one clear line."""
    try:
        yield
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{path}: the compressed file is damaged: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


def _open_bytes(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if compressed else path.open("rb")


def _records(path: Path, delimiter: str) -> Iterator[list[str]]:
    """All non-blank records, the header first."""
    with _reading(path), _open_bytes(path) as file:
        mark = file.read(2)
        file.seek(0)
        encoding = "utf-16" if mark in _UTF16_MARKS else "utf-8-sig"
        text = io.TextIOWrapper(file, encoding=encoding, errors="penstock.latin-1", newline="")
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
        try:
            for row in reader:
                if len(row) > 1 or (row and row[0].strip()):
                    yield row
        except csv.Error as error:
            raise UsageError(f"{path}: line {reader.line_num}: {error}") from error
        except UnicodeError as error:
            raise UsageError(f"{path}: not text: {error}") from error


def _refuse_binary(path: Path, head: bytes) -> None:
    if head[:2] in _UTF16_MARKS:
        return
    control = sum(byte < 32 and byte not in b"\t\n\r\f\x0b" for byte in head)
    if b"\x00" in head or control > len(head) // 20:
        raise UsageError(f"{path}: not a text file, so no CSV")


def _complete_lines(head: bytes) -> list[str]:
    encoding = "utf-16" if head[:2] in _UTF16_MARKS else "utf-8-sig"
    lines = head.decode(encoding, errors="replace").splitlines(keepends=True)
    return lines[:-1] if len(head) == SNIFFED_BYTES and len(lines) > 1 else lines


def _sniff_delimiter(lines: list[str]) -> str:
    """The delimiter by which most rows have as many fields as the header; of equals, the one that makes more fields."""

    def fit(delimiter: str) -> tuple[float, int]:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        try:
            widths = [len(row) for row in islice((row for row in reader if any(row)), SNIFFED_ROWS)]
        except csv.Error:
            return (0.0, 0)
        if not widths or widths[0] < 2:
            return (0.0, 0)
        return (round(widths.count(widths[0]) / len(widths), 1), widths[0])

    return max(DELIMITERS, key=fit)


def _check_header(path: Path, header: list[str]) -> tuple[str, ...]:
    names = [name.strip() for name in header]
    if all(is_missing(name) or parse_number(name) is not None for name in names):
        raise UsageError(f"{path}: the first row holds values ({', '.join(names[:5])}), not a header with column names")
    columns = tuple(name or f"unnamed_{index}" for index, name in enumerate(names))
    for name in columns:
        if columns.count(name) > 1:
            raise UsageError(f"{path}: the column {name!r} occurs twice in the header; rename one")
    return columns


def _has_decimal_comma(rows: list[list[str]], delimiter: str) -> bool:
    """More numbers like 1,5 than like 1.5. What could be grouped thousands (1,234) counts only between semicolons,
    which are used where the comma is taken."""
    fields = [field for row in rows for field in row if "," in field or "." in field]
    commas = [field for field in fields if _DECIMAL_COMMA.fullmatch(field)]
    if delimiter != ";":
        commas = [field for field in commas if not _THOUSANDS.fullmatch(field)]
    dots = sum(_DECIMAL_DOT.fullmatch(field) is not None for field in fields)
    return len(commas) > dots
