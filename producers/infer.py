"""A pipeline inferred from a table: what is predicted, which columns feed the models, and why the others do not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.errors import UsageError
from penstock.spec import Boolean, Categorical, Date, Feature, Numeric, Pipeline, Rows
from producers.baselines import floors
from producers.columns import Column, as_numbers, describe, gives_away
from producers.sample import Sample
from producers.table import Table, open_table
from producers.target import Target, class_name, infer_target
from producers.values import epoch_format, is_missing, parse_number

LISTED_CATEGORIES = 20
LEAK_AUC = 0.995


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What the user says about the columns; the rest is inferred."""

    target: str
    time: str | None
    entity: str | None
    protected: tuple[str, ...]
    include: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inferred:
    """The pipeline, a remark per feature, and what the user should know (one line each)."""

    pipeline: Pipeline
    source: str
    remarks: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def pipeline_name(path: Path) -> str:
    """A pipeline's name from a file's: lower case, ``_`` for all else, a letter first."""
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0].lower()
    name = re.sub(r"[^a-z0-9]+", "_", stem).strip("_")
    return (name if name[:1].isalpha() else f"data_{name}".rstrip("_"))[:63]


def infer_pipeline(
    path: Path,
    target: str,
    *,
    time: str | None = None,
    entity: str | None = None,
    protected: Sequence[str] = (),
    include: Sequence[str] = (),
    name: str | None = None,
) -> Inferred:
    """Read all of the CSV file once (memory is bounded) and decide what each column is.

    ``protected`` and ``include`` override every reason to ignore a column. ``name`` None: from the file's name.

    Raises:
        UsageError: a named column is not there, the target has fewer than two values or too many to be classes, the
            time column holds no times, or no column is left to learn from.
    """
    table = open_table(path)
    wishes = _Wishes(target, time, entity, tuple(dict.fromkeys(protected)), tuple(dict.fromkeys(include)))
    _check_wishes(table, wishes)
    return _infer(table, wishes, name or pipeline_name(path))


def _infer(table: Table, wishes: _Wishes, name: str) -> Inferred:
    sample = Sample(table, wishes.target)
    target = infer_target(sample, wishes.target)
    columns = {column: describe(column, sample.texts(column), table.decimal_comma) for column in table.columns}
    ignored, leaks = _ignored(sample, wishes, columns, target)
    kept = [column for column in table.columns if column != wishes.target and column not in ignored]
    notes = list(target.notes) + sample.notes()
    if not kept:
        kept = _last_resort(ignored, leaks, columns, table)
        notes.append(f"every column was to be ignored; kept after all: {', '.join(kept)}")
        ignored = {column: reason for column, reason in ignored.items() if column not in kept}
    notes += [f"ignored {column}: {reason}" for column, reason in ignored.items()]
    notes += _format_notes(columns, [*kept, *([wishes.time] if wishes.time else [])])
    notes.append("labels are taken to be known at once (label_delay=Rows(0)); set the delay that your labels have")
    features = tuple(_feature(columns[column], sample.whole) for column in kept)
    gates, why = floors(sample, wishes.target, target)
    notes.append(why)
    pipeline = Pipeline(
        name=name,
        task=target.task,
        target=wishes.target,
        classes=target.classes,
        features=features,
        entity=wishes.entity,
        time=wishes.time,
        time_format=None if wishes.time is None else _time_format(table, columns[wishes.time]),
        label_delay=Rows(0),
        protected=wishes.protected,
        ignored=ignored,
        gates=gates,
    )
    remarks = {feature.name: _remark(columns[feature.name], feature) for feature in features}
    return Inferred(pipeline, table.path.name, remarks, tuple(notes))


def _check_wishes(table: Table, wishes: _Wishes) -> None:
    for column in (wishes.target, wishes.time, wishes.entity, *wishes.protected, *wishes.include):
        if column is not None:
            table.position(column)
    for what, named in (
        ("time", (wishes.time,)),
        ("entity", (wishes.entity,)),
        ("protected", wishes.protected),
        ("include", wishes.include),
    ):
        if wishes.target in named:
            raise UsageError(f"column {wishes.target!r} is the target, so it cannot be --{what} too")


def _ignored(
    sample: Sample, wishes: _Wishes, columns: Mapping[str, Column], target: Target
) -> tuple[dict[str, str], list[str]]:
    """Reasons by column, and which of them are leaks of the target."""
    reasons: dict[str, str] = {}
    leaks: list[str] = []
    rows = _labelled(sample, wishes.target, target)
    for name, column in columns.items():
        if name == wishes.target or name in wishes.include or name in wishes.protected:
            continue
        reason = _plain_reason(column, wishes)
        if reason is None:
            values = as_numbers(column, sample.texts(name), sample.decimal_comma)
            alone = _alone(values, column.kind in ("numeric", "date"), rows)
            if alone > LEAK_AUC:
                reason = f"alone it tells the target (AUC {alone:.4f}); known only afterwards?"
                leaks.append(name)
        if reason is not None:
            reasons[name] = reason
    for name in (*wishes.include, *wishes.protected):
        if columns[name].kind == "empty":
            raise UsageError(f"{sample.path}: column {name!r} has no value in any row, so it cannot be a feature")
    return reasons, leaks


def _plain_reason(column: Column, wishes: _Wishes) -> str | None:
    if column.name == wishes.entity:
        return "it names the entity"
    if column.kind == "empty":
        return "no values"
    if column.name == wishes.time and column.kind != "date":
        return "it is the event time, which always moves"
    if column.kind == "text" and column.distinct > 0.5 * column.values:
        return f"{column.distinct} different texts in {column.values} values: a name or an id"
    if column.kind == "numeric" and column.integers and column.distinct == column.values > 1:
        return "a whole number that differs in every row: an id or a counter"
    return None


class _Labelled(NamedTuple):
    """Which rows have a label, and of these, per class that is told from the others, which are in it."""

    known: NDArray[np.bool_]
    classes: list[NDArray[np.bool_]]


def _labelled(sample: Sample, name: str, target: Target) -> _Labelled:
    """The rows by class; a regression has one class, the rows above the median."""
    texts = sample.texts(name)
    numbers = [None if is_missing(text) else parse_number(text, sample.decimal_comma) for text in texts]
    if target.task == "regression":
        values = np.array([np.nan if number is None else number for number in numbers])
        known = ~np.isnan(values)
        return _Labelled(known, [values[known] > np.median(values[known])])
    names = np.array(
        [
            text.strip() if number is None or text.strip() in target.classes else class_name(number)
            for text, number in zip(texts, numbers, strict=True)
        ]
    )
    known = np.isin(names, target.classes)
    told = target.classes[1:] if target.task == "binary" else target.classes
    return _Labelled(known, [names[known] == class_ for class_ in told])


def _alone(values: NDArray[np.float64], ordered: bool, rows: _Labelled) -> float:
    """How well a column alone tells the classes apart: the mean AUC, one class against the rest."""
    return float(np.mean([gives_away(values[rows.known], ordered, class_) for class_ in rows.classes]))


def _last_resort(
    ignored: Mapping[str, str], leaks: Sequence[str], columns: Mapping[str, Column], table: Table
) -> list[str]:
    """A table with nothing but leaks or ids is still a table: the leaks are kept, else whatever has values."""
    kept = list(leaks) or [name for name in ignored if columns[name].kind != "empty"]
    if not kept:
        raise UsageError(f"{table.path}: besides the target no column has values, so there is nothing to learn from")
    return kept


def _feature(column: Column, whole: bool) -> Feature:
    if column.kind == "numeric":
        return Numeric(column.name)
    if column.kind == "boolean":
        return Boolean(column.name)
    if column.kind == "date":
        return Date(column.name, format=column.date_format or "")
    listed = whole and len(column.categories) <= LISTED_CATEGORIES
    return Categorical(column.name, values=column.categories if listed else ())


def _time_format(table: Table, column: Column) -> str:
    if column.kind == "date" and column.date_format is not None:
        return column.date_format
    if column.kind == "numeric" and column.low is not None and column.high is not None:
        format_ = epoch_format(max(column.low, column.high, key=abs))
        if format_ is not None:
            return format_
    raise UsageError(
        f"{table.path}: column {column.name!r} does not read as a time (dates in one format, or epoch numbers)"
    )


def _format_notes(columns: Mapping[str, Column], names: Sequence[str]) -> list[str]:
    return [
        f"{name} reads as a date in {columns[name].date_format} and in {columns[name].other_format}; the first is taken"
        for name in dict.fromkeys(names)
        if columns[name].other_format is not None
    ]


def _remark(column: Column, feature: Feature) -> str:
    parts = []
    listed = isinstance(feature, Categorical) and feature.values
    if column.kind == "numeric":
        parts.append(f"{column.low:.6g} to {column.high:.6g}")
    elif column.kind == "text" and not listed:
        parts.append(f"{column.distinct} values")
    if column.missing:
        parts.append(f"{100 * column.missing / (column.values + column.missing):.2g} % missing")
    if column.bad:
        parts.append(f"{column.bad} bad values")
    return ", ".join(parts)
