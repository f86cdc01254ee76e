"""Following partitions of the embedded log: look only when something was committed, sleep shortly otherwise."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.log.embedded_file import connect, translated
from penstock.log.embedded_records import Cursor, Place, bounds_of
from penstock.log.embedded_writer import Writer
from penstock.log.port import Record
from penstock.log.turns import take_in_turns

#: Commits of this process wake its readers at once; those of others are seen after a pause between these (seconds).
SHORTEST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.010


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see one state of the file."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


class Reader:
    """Cursors over one connection of their own. Not thread-safe."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self.path, self._writer = path, writer
        with translated(path):
            self.connection = connect(path)
        self.cursors: list[Cursor] = []
        self._version: int | None = None
        self._turn = 0

    def follow(self, place: Place, position: int) -> None:
        """Add a partition."""
        self.cursors.append(Cursor(self.connection, place, position))
        self.look_again()

    def look_again(self) -> None:
        """The next poll looks into the file, whether or not it changed."""
        self._version = None

    def poll(self, max_records: int, timeout_s: float, on_change: Callable[[], None] | None) -> list[Record]:
        """The next records of all cursors; ``on_change`` is called first whenever the file has changed.

        Without ``on_change``, a cursor that retention has overtaken goes on with the oldest record.

        Raises:
            OffsetOutOfRangeError: a position is outside what is held; all positions are as before.
            LogUnavailableError: all positions are as before.
        """
        deadline: float | None = None  # real time: a virtual clock would never get there
        pause = SHORTEST_PAUSE_S
        while True:
            commits = self._writer.commits
            with translated(self.path):
                version = self.connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._version = None
                if on_change is not None:
                    on_change()
                with translated(self.path):
                    records, more = self._take(max_records, skip=on_change is None)
                self._version = None if more else version
                if records:
                    return records
            if timeout_s <= 0:
                return []
            now = time.monotonic()
            deadline = now + timeout_s if deadline is None else deadline
            if now >= deadline:
                return []
            with self._writer.committed:
                if self._writer.commits == commits:
                    self._writer.committed.wait(min(pause, deadline - now))
            pause = min(pause * 1.25, LONGEST_PAUSE_S)

    def close(self) -> None:
        """Release the connection."""
        self.cursors = []
        self.connection.close()

    def _take(self, max_records: int, *, skip: bool) -> tuple[list[Record], bool]:
        """The next records, and whether there are more: bounds and records of one snapshot, so retention cannot hide
        records between the two."""
        with snapshot(self.connection):
            for cursor, bounds in zip(
                self.cursors, bounds_of(self.connection, [c.place for c in self.cursors]), strict=True
            ):
                cursor.bounds = bounds
                if skip and cursor.position < bounds.first:
                    cursor.position = bounds.first
            ready = [cursor for cursor in self.cursors if cursor.position != cursor.bounds.end]
            self._turn += 1
            records = take_in_turns(ready, max_records, self._turn) if ready else []
            return records, any(cursor.position != cursor.bounds.end for cursor in ready)


class EmbeddedTail:
    """See ``Tail``. A tail that retention has overtaken goes on with the oldest record that is held."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Tail.poll``. Raises ``LogUnavailableError``."""
        return self._reader.poll(max_records, timeout_s, None)

    def close(self) -> None:
        """See ``Tail.close``."""
        self._reader.close()
