"""Known public data sets on this machine: finding, fetching and verifying them.

A file is accepted by the SHA-256 of its normalised rows, so that it does not matter how it is compressed or quoted, or
how numbers are written: header and rows as JSON arrays of strings, one per line, fields
stripped, every number in its shortest form (``20000.0`` is ``20000``), every missing value empty.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, TypeAlias

import msgspec

from penstock.errors import DependencyError, UsageError
from penstock.models.artifact import write_durably
from producers.catalogue import DATASETS, Dataset
from producers.drifts import TrueDrift
from producers.table import open_table
from producers.values import is_missing, parse_number

Opener: TypeAlias = Callable[[str], AbstractContextManager[IO[bytes]]]
FETCH_TIMEOUT_S = 60.0


def known(name: str) -> Dataset:
    """The data set called ``name``. Raises ``UsageError``, listing those there are."""
    try:
        return DATASETS[name]
    except KeyError:
        raise UsageError(f"unknown data set {name!r}; there are {', '.join(DATASETS)}") from None


def dataset_path(name: str, directory: Path | None) -> Path:
    """The file of data set ``name`` in ``directory`` (``.csv.gz`` or ``.csv``).

    Raises:
        UsageError: no such data set.
        DependencyError: no directory is set, or the file is not in it; the text says what to do.
    """
    dataset = known(name)
    if directory is None:
        raise DependencyError(f"data set {name}: set PENSTOCK_DATASETS_DIR to the folder that {name}.csv.gz is in")
    for suffix in (".csv.gz", ".csv"):
        path = directory / f"{name}{suffix}"
        if path.is_file():
            return path
    how = f"`penstock datasets fetch {name}` gets it" if dataset.url else f"get it by hand: {dataset.by_hand}"
    raise DependencyError(f"data set {name}: not in {directory}; {how} ({dataset.source})")


def describe(directory: Path | None) -> list[dict[str, Any]]:
    """One entry per known data set: name, rows, columns, licence, source, whether it is ``here`` and can be fetched."""
    return [
        {
            "name": dataset.name,
            "rows": dataset.rows,
            "columns": len(dataset.columns),
            "target": dataset.target,
            "licence": dataset.licence,
            "here": _is_here(dataset.name, directory),
            "fetch": f"{dataset.url} (not reached so far)" if dataset.url else f"by hand: {dataset.by_hand}",
            "source": dataset.source,
            "about": dataset.about,
            "sha256": dataset.sha256,
        }
        for dataset in DATASETS.values()
    ]


def _is_here(name: str, directory: Path | None) -> bool:
    try:
        dataset_path(name, directory)
    except DependencyError:
        return False
    return True


def demo_drifts(name: str, events: int) -> tuple[list[str], list[TrueDrift]]:
    """Drifts to inject into the first ``events`` rows of a data set (as their text), and those of its own.

    Raises:
        UsageError: no such data set.
    """
    dataset = known(name)
    rows = min(events, dataset.rows)
    injected = [f"{kind}@{rows * share // 100}:{options}" for kind, share, options in dataset.drifts]
    return injected, [drift for drift in dataset.own_drifts if drift.row < rows]


def normalised_field(text: str) -> str:
    """One field in the form that is hashed: a number in its shortest form, a missing value empty."""
    text = text.strip()
    if is_missing(text):
        return ""
    number = parse_number(text)
    if number is None:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def rows_digest(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[str, int]:
    """SHA-256 (hex) of header and rows in normalised form, and how many rows there are."""
    digest = hashlib.sha256(msgspec.json.encode(list(columns)) + b"\n")
    count = 0
    for row in rows:
        digest.update(msgspec.json.encode([normalised_field(field) for field in row]) + b"\n")
        count += 1
    return digest.hexdigest(), count


def verify(name: str, path: Path) -> None:
    """Check that the file at ``path`` holds exactly the rows of data set ``name``.

    Raises:
        UsageError: no such data set, or the file does not read.
        DependencyError: it holds something else.
    """
    dataset = known(name)
    table = open_table(path)
    digest, count = rows_digest(table.columns, table.rows())
    if digest != dataset.sha256:
        raise DependencyError(
            f"data set {name}: {path} holds other rows than the published ones "
            f"({count} rows where {dataset.rows} are expected, SHA-256 {digest[:12]}…)"
        )


def _open_url(url: str) -> AbstractContextManager[IO[bytes]]:
    request = urllib.request.Request(url, headers={"User-Agent": "penstock"})  # noqa: S310 - https only, from the table
    response: AbstractContextManager[IO[bytes]] = urllib.request.urlopen(request, timeout=FETCH_TIMEOUT_S)  # noqa: S310 - as above
    return response


def fetch(name: str, directory: Path, opener: Opener = _open_url) -> Path:
    """Download data set ``name``, convert it, verify its rows, and put it into ``directory`` as ``<name>.csv.gz``.

    Nothing is written unless the rows are exactly the published ones. A file that is there and right is kept.

    Raises:
        UsageError: no such data set.
        DependencyError: it has no address to fetch from, the source cannot be reached, or what it sends is different.
    """
    dataset = known(name)
    path = directory / f"{name}.csv.gz"
    if path.is_file():
        verify(name, path)
        return path
    if dataset.url is None or dataset.convert is None:
        raise DependencyError(
            f"data set {name}: it cannot be fetched by program; get it by hand: {dataset.by_hand} ({dataset.source})"
        )
    try:
        with opener(dataset.url) as response:
            data = response.read()
        rows = list(dataset.convert(data))
    except (OSError, urllib.error.URLError) as error:
        raise DependencyError(f"data set {name}: {dataset.url} cannot be reached: {error}") from error
    except (ValueError, KeyError, IndexError, csv.Error) as error:
        raise DependencyError(f"data set {name}: {dataset.url} sent something unexpected: {error}") from error
    digest, count = rows_digest(dataset.columns, rows)
    if digest != dataset.sha256:
        raise DependencyError(
            f"data set {name}: {dataset.url} sent other rows than the published ones "
            f"({count} rows where {dataset.rows} are expected, SHA-256 {digest[:12]}…); nothing was written"
        )
    write_durably(path, _compressed(dataset.columns, rows))
    return path


def _compressed(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([normalised_field(field) for field in row] for row in rows)
    return gzip.compress(text.getvalue().encode(), mtime=0)
