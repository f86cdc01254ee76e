"""What a backup copies from a system that may be running, piece by piece."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from penstock.cli.backup_format import STORES
from penstock.errors import ArtifactError, DependencyError, UnknownTopicError, UsageError
from penstock.events import ModelRecord
from penstock.log.embedded_records import Catalog, bounds_of, read_records
from penstock.log.open import FILE_NAME, bootstrap_of
from penstock.models.artifact import Artifacts, Signer
from penstock.models.blobs import WRITING, BlobFolder, LocalBlobs
from penstock.settings import Settings

_PATIENCE_S = 30.0
_models = msgspec.json.Decoder(ModelRecord)


def log_file(settings: Settings) -> Path | None:
    """The file of the embedded log; None where the log is Kafka's.

    Raises:
        UsageError: the URL names neither (`penstock.log.open.open_log` says which there are).
    """
    if bootstrap_of(settings.log) is not None:
        return None
    if settings.log == "embedded":
        return settings.data_dir / FILE_NAME
    parts = urlsplit(settings.log)
    if parts.scheme != "embedded" or parts.netloc or parts.path in ("", "/"):
        raise UsageError(f"log {settings.log!r}: not understood; use `embedded` or `embedded:///path/to/file.db`")
    return Path(unquote(parts.path))


def blobs_of(settings: Settings, pipeline: str, store: str) -> BlobFolder:
    """The checkpoints or the artifacts of a pipeline: in the data directory, or in the configured store."""
    url = settings.store_url
    if url is None:
        return LocalBlobs(settings.data_dir / pipeline / store)
    if urlsplit(url).scheme == "file":
        return LocalBlobs(Path(unquote(urlsplit(url).path)) / pipeline / store)
    from penstock.models.blobs_remote import fsspec_blobs

    return fsspec_blobs(url).below(pipeline).below(store)


def local_pipelines(data_dir: Path) -> list[str]:
    """The pipelines that have a folder in the data directory."""
    return sorted(path.name for path in data_dir.iterdir() if any((path / store).is_dir() for store in STORES))


def blobs_in(blobs: BlobFolder, store: str) -> Iterator[tuple[str, bytes]]:
    """Every blob of a store, newest name first within a folder.

    One that is deleted meanwhile is passed over, and all are looked at again: what replaced it is there now.
    """
    taken: set[str] = set()
    again = True
    while again:
        again = False
        for name in list(blob_names(blobs, store)):
            if name in taken:
                continue
            try:
                data = blobs.read(name)
            except FileNotFoundError:
                again = True
                continue
            taken.add(name)
            yield name, data


def blob_names(blobs: BlobFolder, store: str) -> Iterator[str]:
    """The names in a store: ``<stage>/<partition>/<checkpoint>``, or ``<two digits>/<digest>``."""
    return _names(blobs, "", {"checkpoints": 3, "artifacts": 2}[store])


def _names(blobs: BlobFolder, folder: str, depth: int) -> Iterator[str]:
    for name in sorted(blobs.names(folder), reverse=True):
        if name.startswith(WRITING):
            continue
        path = f"{folder}/{name}" if folder else name
        if depth == 1:
            yield path
        else:
            yield from _names(blobs, path, depth - 1)


@contextmanager
def moment_of(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees a database as it is now, whatever is written to it meanwhile.

    Raises:
        DependencyError: it cannot be read.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=_PATIENCE_S)
        ) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # only a read fixes the moment
            yield connection
    except sqlite3.Error as error:
        raise DependencyError(f"{path}: cannot be backed up ({error})") from error


def copy_database(moment: sqlite3.Connection, target: Path) -> None:
    """Copy a database as ``moment`` sees it into the new file ``target``, and check that the copy is sound.

    Raises:
        DependencyError: it is damaged.
        sqlite3.Error: it cannot be read, or ``target`` not written.
    """
    with closing(sqlite3.connect(target)) as copy:
        moment.backup(copy)
        verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise DependencyError(f"the copy of the database is not sound: {verdict}; restore an older backup")


def named_artifacts(moment: sqlite3.Connection, pipeline: str, blobs: BlobFolder, signer: Signer) -> dict[str, bytes]:
    """The verified artifacts that the newest record of each slot names, by their address.

    Raises:
        ArtifactError: one is missing or damaged: the system itself could not be restarted on it.
    """
    store = Artifacts(blobs, signer)
    found = {}
    for record in _newest(moment, pipeline):
        for named in (record, record.predecessor):
            if named is not None and named.uri:
                try:
                    found[named.uri] = store.get(named.uri, named.digest, named.signature)
                except ArtifactError as error:
                    raise ArtifactError(f"{pipeline}: what slot {record.slot} serves is not whole: {error}") from error
    return found


def _newest(moment: sqlite3.Connection, pipeline: str) -> list[ModelRecord]:
    try:
        place = Catalog(pipeline).place("models", 0, moment)
    except UnknownTopicError:
        return []
    (bounds,) = bounds_of(moment, [place])
    newest: dict[str, ModelRecord] = {}
    for record in read_records(moment, place, bounds.first, bounds.end, bounds.end - bounds.first):
        event = _models.decode(record.value)
        newest[event.slot] = event
    return list(newest.values())
