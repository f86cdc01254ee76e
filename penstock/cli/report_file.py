"""The report's file: refused before a long run rather than after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EISDIR
from pathlib import Path
from typing import Any

import msgspec

from penstock.errors import UsageError


def prepare(report: Path | None) -> None:
    """Make the report's folder.

    Raises:
        UsageError: the report could not be written there.
    """
    if report is None:
        return
    with _writing(report):
        report.parent.mkdir(parents=True, exist_ok=True)
        if report.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        if not os.access(report if report.exists() else report.parent, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))


def write(report: Path, result: dict[str, Any]) -> None:
    """Write the report as indented JSON.

    Raises:
        UsageError: the file cannot be written.
    """
    with _writing(report):
        report.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def write_text(report: Path, text: str) -> None:
    """Write a page, in UTF-8.

    Raises:
        UsageError: the file cannot be written.
    """
    with _writing(report):
        report.write_text(text, encoding="utf-8")


@contextmanager
def _writing(report: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{report}: the report cannot be written ({error.strerror or error})") from error
