"""One reading of a table, in bounded memory: rows to judge columns by, and every value of the target."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from producers.no_change import NoChange
from producers.table import Table
from producers.values import is_missing, parse_number

#: Longer tables are judged by a seeded sample of rows with about this many fields.
SAMPLED_FIELDS = 2_000_000
#: Beyond so many different values a target is no class.
COUNTED_VALUES = 1000


class Sample:
    """The rows that columns are judged by (all, in a table of usual size), and all values of the target in order.

    ``whole``: nothing was left out, so what was not seen does not occur.
    """

    def __init__(self, table: Table, target: str) -> None:
        self._table = table
        room = max(1000, SAMPLED_FIELDS // len(table.columns))
        position, width = table.position(target), len(table.columns)
        rng = random.Random(0)
        held: list[tuple[int, list[str]]] = []
        self.target_counts: Counter[str] = Counter()
        self.no_change = NoChange(table.decimal_comma)
        self.ragged = self.total = 0
        for index, row in enumerate(table.rows()):
            self.total += 1
            if len(row) != width:
                self.ragged += 1
                continue
            if not is_missing(row[position]):
                self._count_target(row[position].strip())
                self.no_change.add(row[position].strip())
            if len(held) < room:
                held.append((index, row))
            else:
                slot = rng.randint(0, index)
                if slot < room:
                    held[slot] = (index, row)
        self.whole = self.total - self.ragged == len(held)
        self.rows = [row for _, row in sorted(held)]

    def _count_target(self, text: str) -> None:
        """Beyond a thousand values a target is no class: only whether the rest are numbers still matters."""
        if text in self.target_counts or len(self.target_counts) < COUNTED_VALUES:
            self.target_counts[text] += 1
        else:
            number = parse_number(text, self._table.decimal_comma)
            self.target_counts["0.5" if number is not None else "text"] += 1

    def texts(self, column: str) -> list[str]:
        """The fields of ``column``, in file order."""
        position = self._table.position(column)
        return [row[position] for row in self.rows]

    @property
    def decimal_comma(self) -> bool:
        """How the table writes numbers."""
        return self._table.decimal_comma

    @property
    def path(self) -> Path:
        """The table's file."""
        return self._table.path

    def notes(self) -> list[str]:
        """What the user should know about the rows."""
        notes = []
        if self.ragged:
            notes.append(
                f"{self.ragged} of {self.total} rows have too few or too many fields: they become dead letters"
            )
        if not self.whole:
            notes.append(f"columns are judged by a sample of {len(self.rows)} of {self.total} rows")
        if self._table.decimal_comma:
            notes.append("numbers are written with a decimal comma")
        return notes
