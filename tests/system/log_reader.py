"""Reads an embedded log with SQL of its own: the checker shares no code with the stages or the log it checks."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

OFFSET_BITS = 40


class LogReader:
    """One pipeline's topics in a log file, read-only."""

    def __init__(self, path: Path, pipeline: str) -> None:
        self._path = path
        self._pipeline = pipeline

    def values(self, topic: str, partition: int = 0) -> list[dict[str, Any]]:
        """All values of a partition, in offset order, decoded."""
        return [json.loads(value) for value in self.raw(topic, partition)]

    def raw(self, topic: str, partition: int = 0) -> list[bytes]:
        """All values of a partition, in offset order."""
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=30)
        try:
            identifier = connection.execute(
                "SELECT p.id FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = ? AND p.number = ?",
                (f"{self._pipeline}.{topic}.v1", partition),
            ).fetchone()
            if identifier is None:
                return []
            first, end = identifier[0] << OFFSET_BITS, (identifier[0] + 1) << OFFSET_BITS
            query = "SELECT value FROM records WHERE place >= ? AND place < ? ORDER BY place"
            return [bytes(row[0]) for row in connection.execute(query, (first, end))]
        finally:
            connection.close()

    def count(self, topic: str) -> int:
        """How many records a topic's first partition holds; 0 while the file or its tables are not there yet."""
        try:
            return len(self.raw(topic)) if self._path.exists() else 0
        except sqlite3.OperationalError:
            return 0


def missing_and_double(expected: list[str], found: list[str]) -> tuple[set[str], set[str]]:
    """Ids that should be there and are not, and ids that are there more than once (or should not be at all)."""
    counts = Counter(found)
    surplus = {identifier for identifier, count in counts.items() if count > 1 or identifier not in set(expected)}
    return set(expected) - set(counts), surplus
