"""From the files that official sources publish to the one form of our known data sets."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from penstock.errors import DependencyError

Rows: TypeAlias = Iterator[Sequence[str]]
Convert: TypeAlias = Callable[[bytes], Rows]

#: UCI's hour.csv counts rentals; half of all hours have at least this many (the median), they are ``high``.
BUSY_HOUR = 142


def _records(text: str) -> Iterator[list[str]]:
    return (row for row in csv.reader(io.StringIO(text)) if row)


def taiwan_from_uci(data: bytes) -> Rows:
    """UCI's ``data.csv`` of data set 350: ID, X1 to X23, Y in this order, with or without the column names."""
    for index, row in enumerate(_records(data.decode("utf-8-sig"))):
        if index > 0 or row[0].strip().isdigit():
            yield row


def elec2_from_arff(data: bytes) -> Rows:
    """The ARFF file of OpenML 151: values after ``@data``; UP is 1, DOWN is 0."""
    _, found, body = data.decode("utf-8").partition("@data")
    if not found:
        _, found, body = data.decode("utf-8").partition("@DATA")
    if not found:
        raise DependencyError("elec2: the source did not send an ARFF file")
    for row in _records(body):
        if not row[0].startswith("%"):
            *values, outcome = (field.strip().strip("'") for field in row)
            yield [*values, {"UP": "1", "DOWN": "0"}.get(outcome, outcome)]


def bike_from_zip(data: bytes) -> Rows:
    """``hour.csv`` in UCI's archive: temperature, felt temperature, humidity, wind speed; 142 rentals or more: high."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            text = archive.read("hour.csv").decode("utf-8-sig")
    except (zipfile.BadZipFile, KeyError) as error:
        raise DependencyError(f"bike_demand: the source did not send a zip file with hour.csv: {error}") from error
    for row in csv.DictReader(io.StringIO(text)):
        busy = int(row["cnt"]) >= BUSY_HOUR
        yield [row["temp"], row["atemp"], row["hum"], row["windspeed"], "high" if busy else "low"]
