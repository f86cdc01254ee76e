"""How well incidents match drifts that are known: found, missed, how late, and how many false ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from producers.drifts import TrueDrift

#: An incident up to so many rows after a true drift is complete counts as finding it.
FOUND_WITHIN = 1500


@dataclass(frozen=True, slots=True)
class Detection:
    """``delays``: per true drift the rows to its first incident, None where it was missed.

    ``false_incidents`` are those that no true drift accounts for. Precision = found / (found + false), recall = found /
    true drifts, F1 = 2 × found / (2 × found + false + missed); None where nothing could be divided.
    """

    found: int
    missed: int
    false_incidents: int
    delays: list[int | None]
    median_delay: float | None
    precision: float | None
    recall: float | None
    f1: float | None


def detection(positions: Sequence[int], drifts: Sequence[TrueDrift], within: int = FOUND_WITHIN) -> Detection:
    """Match incidents at ``positions`` (data rows) with ``drifts``.

    An incident belongs to the newest drift at or before it, if it opened at most ``within`` rows after that drift was
    complete (its row plus its width); otherwise it is false. Drifts at the same row count as one. A second incident
    of the same drift is neither another hit nor false.
    """
    ends: dict[int, int] = {}
    for drift in drifts:
        ends[drift.row] = max(ends.get(drift.row, 0), drift.row + drift.width + within)
    rows = sorted(ends)
    first: dict[int, int] = {}
    false = 0
    for position in sorted(positions):
        index = bisect_right(rows, position) - 1
        if index < 0 or position > ends[rows[index]]:
            false += 1
        else:
            first.setdefault(rows[index], position - rows[index])
    delays = [first.get(row) for row in rows]
    found, missed = len(first), len(rows) - len(first)
    return Detection(
        found=found,
        missed=missed,
        false_incidents=false,
        delays=delays,
        median_delay=float(median(first.values())) if first else None,
        precision=found / (found + false) if found + false else None,
        recall=found / len(rows) if rows else None,
        f1=2 * found / (2 * found + false + missed) if rows or false else None,
    )
