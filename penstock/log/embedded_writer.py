"""The embedded log's only way to write: group commits in a process, a fair queue among processes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from penstock.errors import LogError, LogUnavailableError
from penstock.log.embedded_file import connect, prepare, translate, translated
from penstock.log.embedded_lock import FileLock

T = TypeVar("T")

#: Seconds that a writer queues for its turn; a turn takes milliseconds, unless its process is stopped.
TURN_S = 10.0


class _Unit:
    """One caller's part of a transaction: all of it, or nothing."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        self.work = work
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """Merges concurrent ``write`` calls into one durable transaction. Thread-safe.

    A commit costs an fsync (about 3 ms). Whoever finds no commit under way leads at once, so an idle log adds no delay;
    who comes meanwhile is merged into the next transaction, so everybody waits for two commits at most.

    Processes queue for their turn on a side file (``FileLock``).
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``, creating it and its directory when needed.

        Raises:
            LogError: the file is not a log.
            LogUnavailableError: it cannot be opened.
        """
        self._path = path
        self._turn = threading.Condition(threading.Lock())
        self._waiting: list[_Unit] = []
        self._busy = False
        self._closed = False
        #: Grows with every transaction of this process; pollers sleep on ``committed`` until it does.
        self.commits = 0
        self.committed = threading.Condition(threading.Lock())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        except OSError as error:
            raise LogUnavailableError(
                f"log {path}: cannot be opened ({error.strerror}); check its directory"
            ) from error
        try:
            self.connection = self._open()
        except LogError:
            self._lock.close()
            raise

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` inside a transaction and return its result once that is durable.

        ``work`` must be short; what it raises is raised here, after everything it wrote was undone (the others' parts
        of the transaction stay).

        Raises:
            LogUnavailableError: nothing was written.
            LogError: the log is closed or damaged.
        """
        unit = _Unit(work)
        with self._turn:
            if self._closed:
                raise LogError(f"log {self._path}: it is closed")
            self._waiting.append(unit)
            while self._busy and not unit.done:
                self._turn.wait()
            lead = not unit.done
            self._busy = self._busy or lead
        if lead:
            self._lead()
        if unit.error is not None:
            raise unit.error
        result: T = unit.result
        return result

    def close(self) -> None:
        """Wait for what is under way and release the file. Idempotent."""
        with self._turn:
            while self._busy or self._waiting:
                self._turn.wait()
            if self._closed:
                return
            self._closed = True
        self.connection.close()
        self._lock.close()

    def _open(self) -> sqlite3.Connection:
        self._take_turn()
        try:
            with translated(self._path):
                connection = connect(self._path)
                try:
                    prepare(connection, self._path)
                except BaseException:  # whatever it was: no connection may stay behind
                    connection.close()
                    raise
                return connection
        finally:
            self._lock.release()

    def _take_turn(self) -> None:
        if not self._lock.acquire(TURN_S):
            raise LogUnavailableError(
                f"log {self._path}: another process has been writing for {TURN_S:g} s; "
                "it may be stopped: let it go on, or kill it"
            )

    def _lead(self) -> None:
        """Commit what is waiting, on behalf of all.

        1. Queue for our turn to write; who comes meanwhile joins this transaction.
        2. Run every part in one transaction, each in a savepoint, and commit.
        3. End the turn, then tell everybody how it went.
        """
        units: list[_Unit] = []
        try:
            try:
                self._take_turn()  # 1
            except LogUnavailableError as error:
                units = self._take_waiting()
                for unit in units:
                    unit.error = error
                return
            try:
                units = self._take_waiting()
                self._run(units)  # 2
            finally:
                self._lock.release()  # 3
        finally:
            with self._turn:
                self._busy = False
                for unit in units:
                    unit.done = True
                self._turn.notify_all()
            with self.committed:
                self.commits += 1
                self.committed.notify_all()

    def _take_waiting(self) -> list[_Unit]:
        with self._turn:
            units, self._waiting = self._waiting, []
        return units

    def _run(self, units: list[_Unit]) -> None:
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for unit in units:
                self._run_one(unit)
            connection.execute("COMMIT")
        except BaseException as error:  # an interrupt too: nobody may take for written what was undone
            interrupted = LogUnavailableError(f"log {self._path}: writing was interrupted")
            meaning = (translate(error, self._path) or error) if isinstance(error, sqlite3.Error) else interrupted
            for unit in units:
                unit.error = unit.error or meaning
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise

    def _run_one(self, unit: _Unit) -> None:
        connection = self.connection
        connection.execute("SAVEPOINT unit")
        try:
            unit.result = unit.work(connection)
        except Exception as error:  # handed to the thread whose work it was
            unit.error = (translate(error, self._path) if isinstance(error, sqlite3.Error) else None) or error
            if not connection.in_transaction:  # a full disk may undo everything, the others' parts too
                raise
            connection.execute("ROLLBACK TO unit")
        connection.execute("RELEASE unit")
