"""The file of the embedded log: its tables, how it is opened, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import LogError, LogUnavailableError

#: Written into the file's header ("Pens"), so that another program's database is never taken for a log.
APPLICATION_ID = 0x50656E73
FORMAT = 1

#: Seconds that a writer waits for programs that write without the side lock (a backup, the sqlite3 shell).
BUSY_S = 5.0

#: A record's place is ``partition id << OFFSET_BITS | offset``: one integer key, so appends and range reads touch
#: neighbouring pages only.
OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1

_TABLES = """
CREATE TABLE topics (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
  retention_ms INTEGER, compact INTEGER NOT NULL
);
CREATE TABLE partitions (
  id INTEGER PRIMARY KEY, topic INTEGER NOT NULL REFERENCES topics, number INTEGER NOT NULL,
  first INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL DEFAULT 0, last_ms INTEGER,
  UNIQUE (topic, number)
);
CREATE TABLE records (
  place INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL, key BLOB, value BLOB NOT NULL, headers BLOB
);
CREATE TABLE groups (name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, changes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE members (
  grp TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL, boot TEXT NOT NULL, heartbeat_s REAL NOT NULL,
  PRIMARY KEY (grp, name)
) WITHOUT ROWID;
CREATE TABLE owners (
  grp TEXT NOT NULL, number INTEGER NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (grp, number)
) WITHOUT ROWID;
CREATE TABLE committed (
  grp TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (grp, partition)
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('epoch', 0), ('maintained_ms', 0);
"""

_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT}
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk (or the file's size limit) is full; free some space, writers resume by themselves",
    sqlite3.SQLITE_BUSY: "another program holds it; end a long backup or sqlite3 shell",
    sqlite3.SQLITE_LOCKED: "another program holds it; end a long backup or sqlite3 shell",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write; check it (dmesg) and its free space",
    sqlite3.SQLITE_READONLY: "it cannot be written; check its owner and permissions, and those of its directory",
    sqlite3.SQLITE_PERM: "it cannot be opened; check its owner and permissions",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the path, and the permissions of its directory",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}


def translate(error: sqlite3.Error, path: Path) -> LogError | None:
    """What ``error`` means for users of the log; None for what can only be a bug."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Errors that Python raises itself carry no code; the only expected one is the use of a closed connection.
        return LogError(f"log {path}: it is closed") if "closed" in str(error) else None
    primary = code & 0xFF
    if primary in _DAMAGED:
        return LogError(f"log {path}: it is damaged or not a log ({error}); restore a backup or name another file")
    advice = _ADVICE.get(primary)
    return None if advice is None else LogUnavailableError(f"log {path}: {advice} ({error})")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into those of the port."""
    try:
        yield
    except sqlite3.Error as error:
        meaning = translate(error, path)
        if meaning is None:
            raise
        raise meaning from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode that any thread may use (one at a time). Raises ``sqlite3.Error``."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_size_limit=67108864")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in a new file, or check that an old one is a log of this format. Under the write lock.

    Raises:
        LogError: the file belongs to another program or to another version of Penstock.
        sqlite3.Error: it cannot be read or written.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    form = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == 0 and tables == 0:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}; {_TABLES} COMMIT;"
        )
    elif application != APPLICATION_ID:
        raise LogError(f"log {path}: this is another program's database; name another file")
    elif form != FORMAT:
        raise LogError(f"log {path}: its format is {form}, this version reads {FORMAT}; use the matching version")
