"""From alarms and true drifts to detection rate, false alarms, delay and F1."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

#: An alarm within so many rows of the end of a change finds it.
WITHIN = 1000


class Change(NamedTuple):
    """A true drift: it begins at ``row`` and is complete ``width`` rows later."""

    row: int
    width: int = 0

    @property
    def window(self) -> range:
        """The rows at which an alarm finds it."""
        return range(self.row, self.row + self.width + WITHIN)


class Judged(NamedTuple):
    """One contestant on one stream. ``delays`` has an entry per drift, None where it was missed.

    ``false`` are the rows of alarms outside every window; ``stationary`` counts the rows outside.
    """

    delays: tuple[int | None, ...]
    false: tuple[int, ...]
    stationary: int


class Figures(NamedTuple):
    """A contestant on a family of streams. Delays in rows, None where nothing was found.

    ``f1`` counts one true positive per drift that was found, every alarm outside the windows as a false positive; a
    further alarm within a window is neither.
    """

    detection_rate: float
    false_per_10k: float
    median_delay: float | None
    p90_delay: float | None
    f1: float
    drifts: int
    streams: int


def judge(alarms: Sequence[int], drifts: Sequence[Change], rows: int) -> Judged:
    """Match the rows of alarms with the drifts of a stream of ``rows`` rows.

    The first alarm within a drift's window is its hit, the delay counts from the drift's first row.

    Raises:
        ValueError: the windows of two drifts overlap: an alarm there could mean either.
    """
    windows = sorted((drift.window for drift in drifts), key=lambda window: window.start)
    for one, other in pairwise(windows):
        if other.start < one.stop:
            raise ValueError(f"the windows of the drifts at rows {one.start} and {other.start} overlap")
    ordered = sorted(alarms)
    hits = [next((row for row in ordered if row in window), None) for window in windows]
    delays = tuple(None if hit is None else hit - window.start for hit, window in zip(hits, windows, strict=True))
    false = tuple(row for row in ordered if not any(row in window for window in windows))
    covered = sum(len(range(window.start, min(window.stop, rows))) for window in windows)
    return Judged(delays, false, rows - covered)


def summary(outcomes: Sequence[Judged]) -> Figures:
    """All streams of a family together: rates over all drifts and all rows, not means of means."""
    delays = [delay for outcome in outcomes for delay in outcome.delays]
    found = [delay for delay in delays if delay is not None]
    false = sum(len(outcome.false) for outcome in outcomes)
    stationary = sum(outcome.stationary for outcome in outcomes)
    errors = false + len(delays) - len(found)
    return Figures(
        detection_rate=len(found) / len(delays) if delays else 1.0,
        false_per_10k=10_000 * false / max(1, stationary),
        median_delay=statistics.median(found) if found else None,
        p90_delay=float(np.quantile(found, 0.9)) if found else None,
        f1=2 * len(found) / (2 * len(found) + errors) if found or errors else 1.0,
        drifts=len(delays),
        streams=len(outcomes),
    )


def random_alarms(rate: float, rows: int, seed: int) -> list[int]:
    """The dummy: alarms at random, on average ``rate`` per row."""
    return np.flatnonzero(np.random.default_rng(seed).random(rows) < rate).tolist()
