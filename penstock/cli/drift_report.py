"""Evidently's view of two tables. Imported when a report is wanted: Evidently takes seconds and 180 MB."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import pandas as pd

from penstock.cli.drift_table import Columns
from penstock.errors import DependencyError

MISSING = "drift report needs Evidently: pip install 'penstock[reports]'"


class DriftReport(NamedTuple):
    """The report in the forms that are written."""

    html: str
    json: dict[str, Any]


def compare_tables(current: pd.DataFrame, reference: pd.DataFrame, columns: Columns) -> DriftReport:
    """Evidently's data drift preset over the columns that hold a value on both sides.

    Raises:
        DependencyError: Evidently is not installed or does not import.
    """
    # Only its service sends anything home, which is not started here; this makes sure.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        with _quietly():
            from evidently import DataDefinition, Dataset, Report
            from evidently.presets import DataDriftPreset
    except ImportError as error:
        raise DependencyError(f"{MISSING} ({error})") from error
    shown = [name for name in current.columns if current[name].notna().any() and reference[name].notna().any()]
    definition = DataDefinition(
        numerical_columns=[name for name in columns.numeric if name in shown],
        categorical_columns=[name for name in columns.categorical if name in shown],
    )
    with _quietly():
        snapshot = Report([DataDriftPreset()]).run(
            Dataset.from_pandas(current[shown], definition), Dataset.from_pandas(reference[shown], definition)
        )
        return DriftReport(snapshot.get_html_str(as_iframe=False), msgspec.json.decode(snapshot.json()))


def drifted(report: dict[str, Any]) -> dict[str, Any]:
    """The preset's verdict: ``{drifted, share, columns: {name: {method, value, threshold}}}``."""
    columns: dict[str, Any] = {}
    found: dict[str, Any] = {"drifted": None, "share": None, "columns": columns}
    for metric in report["metrics"]:
        kind = metric["config"]["type"].rpartition(":")[2]
        if kind == "DriftedColumnsCount":
            found |= {"drifted": int(metric["value"]["count"]), "share": metric["value"]["share"]}
        elif kind == "ValueDrift":
            config = metric["config"]
            columns[config["column"]] = {
                "method": config["method"],
                "value": metric["value"],
                "threshold": config["threshold"],
            }
    return found


def render(report: DriftReport, suffix: str) -> str:
    """The text of a file of that ``suffix``: ``.json`` or ``.html``."""
    if suffix == ".json":
        return msgspec.json.format(msgspec.json.encode(report.json), indent=2).decode() + "\n"
    return report.html


@contextmanager
def _quietly() -> Iterator[None]:
    """What Evidently does inside is not for its user to mend: old calls, divisions by zero on constant columns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
