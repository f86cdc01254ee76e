"""The demo's stream: loan applications by River's Agrawal generator, with three known drifts.

Source: Agrawal, Imielinski, Swami, "Database Mining: A Performance Perspective", IEEE TKDE 5(6), 1993: nine attributes
of loan applicants and ten functions that decide on the loan.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

from penstock.errors import DependencyError
from penstock.events import Label, Request, encode
from penstock.interrupts import deaf_children
from producers.drifts import TrueDrift
from producers.schedule import ROW_MS, StreamRow

PERTURBATION = 0.05
#: Labelling functions, counted from 0 as in River.
FIRST_CONCEPT, SECOND_CONCEPT = 0, 3
#: While the covariate shift lasts, only applicants with a salary in this range apply: KS statistic about 0.77.
SHIFTED_SALARY = (20_000.0, 50_000.0)
#: Rows between two looks whether the parent lives.
_LOOK_EVERY = 200
_CODES = ("elevel", "car", "zipcode")


class CreditDrifts(NamedTuple):
    """Data rows at which the stream changes."""

    concept: int
    covariate: int
    recurrence: int


def drift_rows(events: int) -> CreditDrifts:
    """Where a stream of ``events`` rows changes: at 30, 55 and 75 %."""
    return CreditDrifts(events * 30 // 100, events * 55 // 100, events * 75 // 100)


def true_changes(events: int) -> list[TrueDrift]:
    """Every change of a stream of ``events`` rows, by position."""
    rows = drift_rows(events)
    return [
        TrueDrift(rows.concept, "concept"),
        TrueDrift(rows.covariate, "covariate", "salary"),
        TrueDrift(rows.recurrence, "concept", back=True),
        TrueDrift(rows.recurrence, "covariate", "salary", back=True),
    ]


def credit_stream(events: int, seed: int, start: int = 0) -> tuple[Iterator[StreamRow], list[TrueDrift]]:
    """``events`` loan applications with their decisions, and where the stream truly changes.

    1. At 30 % another function decides (River's 3 instead of 0): a change of the concept, the applicants stay the same.
    2. At 55 % only low earners apply: a covariate shift. Applications are drawn until one shows the salary, so the
       decision given the application follows the same law as before.
    3. At 75 % the first situation comes back in full: the first function decides and everybody applies again (two
       changes at one row: the concept recurs, the covariate shift ends).

    Equal arguments give equal rows; ``start`` skips that many rows (they are drawn, not encoded).
    """
    return _rows(events, drift_rows(events), seed, start), true_changes(events)


def _rows(events: int, drifts: CreditDrifts, seed: int, start: int) -> Iterator[StreamRow]:
    from river.datasets.synth import Agrawal  # brings much that a reader of written rows does not need

    generator = Agrawal(classification_function=FIRST_CONCEPT, seed=seed, perturbation=PERTURBATION)
    draws = iter(generator)
    for row in range(events):
        second = drifts.concept <= row < drifts.recurrence
        generator.classification_function = SECOND_CONCEPT if second else FIRST_CONCEPT
        features, decision = next(draws)
        if drifts.covariate <= row < drifts.recurrence:
            while not SHIFTED_SALARY[0] <= features["salary"] <= SHIFTED_SALARY[1]:
                features, decision = next(draws)
        if row >= start:
            yield _encoded(row, features, decision)


def _encoded(row: int, features: dict[str, Any], decision: int) -> StreamRow:
    id_ = str(row)
    for name in _CODES:
        features[name] = str(features[name])
    request = Request(id=id_, features=features, event_time_ms=row * ROW_MS)
    return _stream_row(row, encode(request), encode(Label(id=id_, value=str(decision))))


def _stream_row(row: int, request: bytes, label: bytes) -> StreamRow:
    return StreamRow(row, str(row), str(row), row * ROW_MS, request, label)


def write_stream(path: Path, events: int, seed: int) -> None:
    """Write the stream to ``path``: a line per row, its request and its label apart by a tab. All of it, or nothing.

    A writer whose parent was killed stops. Its file is its own, so that a successor's is never mixed with it.
    """
    parent = parent_process()
    writing = path.with_suffix(f".{os.getpid()}.writing")
    with writing.open("wb") as file:
        for row in credit_stream(events, seed)[0]:
            if row.row % _LOOK_EVERY == 0 and parent is not None and not parent.is_alive():
                break
            file.write(row.request + b"\t" + (row.label or b"") + b"\n")
        else:
            writing.replace(path)
    writing.unlink(missing_ok=True)


def read_stream(path: Path) -> Iterator[StreamRow]:
    """The rows that `write_stream` wrote."""
    with path.open("rb") as file:
        for row, line in enumerate(file):
            request, _, label = line.rstrip(b"\n").partition(b"\t")
            yield _stream_row(row, request, label)


def prepared_stream(path: Path, events: int, seed: int) -> tuple[Iterator[StreamRow], list[TrueDrift]]:
    """`credit_stream`, generated once into ``path`` by a process that ends: its memory is not the producer's.

    Raises:
        DependencyError: that process failed; what it printed says why.
    """
    if not path.exists():
        # A plain process, not a pool, whose orphaned workers would wait for more work for ever.
        process = get_context("spawn").Process(target=write_stream, args=(path, events, seed), daemon=True)
        with deaf_children():
            process.start()
        process.join()
        if process.exitcode != 0:
            raise DependencyError(f"{path}: the stream was not generated (exit code {process.exitcode}); see above")
    return read_stream(path), true_changes(events)
