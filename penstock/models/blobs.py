"""Blob folders: where checkpoints and artifacts are kept, as bytes by name.

A name is relative, its parts separated by ``/``. Two implementations: a local directory here, any other fsspec file
system in `penstock.models.blobs_remote`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Protocol

#: How the names of files begin that are being written; a killed writer leaves one.
WRITING = ".writing-"


class StoreUnavailableError(OSError):
    """The whole store cannot be used now (away, too slow, not allowed): nothing is known about the blob.

    Its text is one line for people. The stores over a folder turn it into their own typed errors.
    """


class BlobFolder(Protocol):
    """Bytes by name. Thread-safe. All methods raise ``OSError`` (``StoreUnavailableError`` is one)."""

    def write(self, name: str, data: bytes) -> None:
        """After this, ``name`` holds all of ``data``, durably and for every reader; before, none of it."""
        ...

    def read(self, name: str) -> bytes:
        """All of ``name``. Raises ``FileNotFoundError``: it is not there."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names (without ``folder``) of the blobs in ``folder``, unordered; empty where there is none.

        What was written before this call is listed.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete ``name``; one that is not there is no error."""
        ...

    def where(self, name: str) -> str:
        """``name`` with its place, for people."""
        ...


class LocalBlobs:
    """A directory of this machine, or one that is mounted here: fsync and rename."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, name: str, data: bytes) -> None:
        """See ``BlobFolder.write``."""
        write_durably(self._directory / name, data)

    def read(self, name: str) -> bytes:
        """See ``BlobFolder.read``."""
        return (self._directory / name).read_bytes()

    def names(self, folder: str) -> list[str]:
        """See ``BlobFolder.names``. What is being written is listed too (see ``WRITING``)."""
        try:
            return [entry.name for entry in (self._directory / folder).iterdir()]
        except FileNotFoundError:
            return []

    def delete(self, name: str) -> None:
        """See ``BlobFolder.delete``."""
        (self._directory / name).unlink(missing_ok=True)

    def where(self, name: str) -> str:
        """See ``BlobFolder.where``."""
        return str(self._directory / name)


def reason_of(error: OSError) -> str:
    """What is wrong, without the path that the caller names anyway."""
    return error.strerror or str(error)


def write_durably(path: Path, data: bytes) -> None:
    """Write, fsync and rename: after this, ``path`` holds all of ``data``; before, none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _written_beside(path, data)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def create_once(path: Path, data: bytes) -> None:
    """Make ``path`` (readable by its owner only) whole or not at all, and never over another's.

    Of several processes that start at once, the first wins; read the file to see what it holds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _written_beside(path, data)
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def _written_beside(path: Path, data: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=WRITING)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
