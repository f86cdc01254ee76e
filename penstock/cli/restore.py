"""``penstock restore``: an installation as a backup has it. Nothing is changed before every byte was checked."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.backup import KEY_MARK
from penstock.cli.backup_format import (
    DEMO_FILES,
    KEY,
    LOG,
    PIPELINES,
    REGISTRY,
    REGISTRY_FILES,
    STORES,
    Manifest,
    files_below,
    unpack,
)
from penstock.cli.backup_sources import blob_names, blobs_of, local_pipelines, log_file
from penstock.cli.context import of
from penstock.cli.installation import make_folder
from penstock.cli.occupancy import occupied
from penstock.cli.run import address_file
from penstock.errors import DependencyError, UsageError
from penstock.log.embedded_groups import boot_id
from penstock.models.artifact import Signer
from penstock.models.blobs import create_once
from penstock.settings import Settings

#: A member that was heard of so recently may be running.
_ALIVE_S = 10.0
_STAGING = ".restoring-"
#: Columns of MLflow's tables that name the folder that the registry was made in.
_PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "storage_location"))


def restore(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(help="The file that `penstock backup` wrote.", metavar="SOURCE")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the installation that is in the data directory.")
    ] = False,
) -> None:
    """Restore an installation from a backup: every byte is checked first, then the data directory is written.

    The key that signed the backup must be there: in the backup (`--with-key`), as signing.key in the data directory,
    or in PENSTOCK_SIGNING_KEY. Start the system with `penstock up` afterwards: it goes on where the backup was made.
    """
    context = of(ctx)
    settings = context.settings
    make_folder(settings.data_dir)
    with occupied(settings.data_dir), _written(settings.data_dir), _staging(settings.data_dir) as staged:
        if not force:
            _check_empty(settings)
        manifest = unpack(source, staged)
        if not force:
            _check_store_empty(settings, manifest)
        _check_fits(source, manifest, settings)
        _check_key(source, staged, manifest, settings)
        _check_stopped(settings)
        if manifest.registry:
            _move_registry(staged / REGISTRY, manifest.data_dir, str(settings.data_dir.resolve()))
        _replace(staged, manifest, settings)
    facts = {"pipelines": manifest.pipelines, "created": manifest.created, "log": manifest.log}
    text = (
        f"{settings.data_dir}: as it was at {manifest.created}, with {', '.join(manifest.pipelines) or 'no pipeline'}"
    )
    context.show(facts, text if manifest.log == "embedded" else f"{text}; the log is Kafka's and was left as it is")


def _check_empty(settings: Settings) -> None:
    strangers = [p.name for p in settings.data_dir.iterdir() if p.name != KEY and not p.name.startswith(_STAGING)]
    log = log_file(settings)
    if strangers or (log is not None and log.exists()):
        raise UsageError(
            f"{settings.data_dir}: is not empty ({', '.join(sorted(strangers)[:3]) or log}); name another folder with "
            "--data-dir, or replace what is there with --force"
        )


def _check_store_empty(settings: Settings, manifest: Manifest) -> None:
    """An empty data directory says nothing about a store that is elsewhere, and that others may use right now."""
    if settings.store_url is None:
        return
    for pipeline in manifest.pipelines:
        if any(True for _ in blob_names(blobs_of(settings, pipeline, "checkpoints"), "checkpoints")):
            raise UsageError(
                f"{settings.store_url}: holds checkpoints of {pipeline} already; stop all its roles and replace them "
                "with --force, or name another PENSTOCK_STORE_URL"
            )


def _check_fits(source: Path, manifest: Manifest, settings: Settings) -> None:
    kafka = log_file(settings) is None
    if kafka != (manifest.log == "kafka"):
        here = "Kafka" if kafka else "embedded"
        raise UsageError(
            f"{source}: made with the log on {'Kafka' if manifest.log == 'kafka' else 'this machine'}, and here it is "
            f"{here}: checkpoints fit one log only; name that log with --log"
        )
    if manifest.registry and settings.mlflow_tracking_uri is not None:
        raise UsageError(f"{source}: holds a registry, but PENSTOCK_MLFLOW_TRACKING_URI names another; unset it")


def _check_key(source: Path, staged: Path, manifest: Manifest, settings: Settings) -> None:
    """Without the key, recovery would take every checkpoint for tampered and refuse every model."""
    own = settings.data_dir / KEY
    if settings.signing_key is not None:
        key = settings.signing_key.get_secret_value().encode()
    elif (staged / KEY).is_file():
        key = (staged / KEY).read_bytes().strip()
    elif own.is_file():
        key = own.read_bytes().strip()
    else:
        raise DependencyError(
            f"{source}: the key that signed it is not in it; put signing.key into {settings.data_dir} first, "
            "or set PENSTOCK_SIGNING_KEY"
        )
    if Signer(key).sign(KEY_MARK) != manifest.key_mark:
        raise DependencyError(
            f"{source}: signed with another key than the one that is here; put the right one in place"
        )


def _check_stopped(settings: Settings) -> None:
    """Roles that were started one by one hold no lock on the data directory, but their members' hearts beat."""
    log = log_file(settings)
    if log is None or not log.is_file():
        return
    now_s = time.monotonic()
    query = "SELECT name FROM members WHERE boot = ? AND heartbeat_s BETWEEN ? AND ? LIMIT 1"
    try:
        with closing(sqlite3.connect(f"{log.resolve().as_uri()}?mode=rw", uri=True)) as connection:
            found = connection.execute(query, (boot_id(), now_s - _ALIVE_S, now_s + _ALIVE_S)).fetchone()
    except sqlite3.Error:
        return  # it is being replaced, perhaps because it is damaged
    if found is not None:
        raise DependencyError(f"{log}: {found[0]} uses it, or did {_ALIVE_S:.0f} s ago; stop it, then try again")


def _move_registry(database: Path, before: str, now: str) -> None:
    """Make the registry's database name the folder that it is going to be in."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in _PLACES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            if column in columns:
                connection.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)",  # noqa: S608 - names of our own
                    (f"{before}/{REGISTRY_FILES}", f"{now}/{REGISTRY_FILES}"),
                )


def _replace(staged: Path, manifest: Manifest, settings: Settings) -> None:
    """Put what was staged in the place of what is there. Killed in the middle, repeat it with ``--force``.

    1. Remove the log first: without it, a system that is started in between has nothing to go on from.
    2. Remove the rest of the old installation: a checkpoint of another history than the log's would be taken for one
       of this. The key and files that are not ours stay.
    3. Write key, models, checkpoints, registry.
    4. The log last: with it the installation is whole.
    """
    data_dir, log = settings.data_dir, log_file(settings)
    if log is not None:
        _remove(log, *(log.with_name(log.name + end) for end in ("-wal", "-shm", ".lock")))  # 1
    _remove(*(data_dir / (REGISTRY + end) for end in ("", "-wal", "-shm", "-journal")))  # 2
    _remove(data_dir / REGISTRY_FILES, address_file(data_dir), *(data_dir / name for name in DEMO_FILES))
    for pipeline in local_pipelines(data_dir):
        _remove(*(data_dir / pipeline / store for store in STORES))
    if settings.store_url is not None:
        _empty_store(settings, manifest)
    if (staged / KEY).is_file() and settings.signing_key is None:  # 3
        _remove(data_dir / KEY)
        create_once(data_dir / KEY, (staged / KEY).read_bytes())
    for name, path in files_below(staged / PIPELINES):
        pipeline, store, blob = name.split("/", 2)
        blobs_of(settings, pipeline, store).write(blob, path.read_bytes())
    for name in (REGISTRY_FILES, REGISTRY, *DEMO_FILES):
        if (staged / name).exists():
            (staged / name).rename(data_dir / name)
    if log is not None:  # 4
        log.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(staged / LOG, log)
    os.sync()


def _empty_store(settings: Settings, manifest: Manifest) -> None:
    for pipeline in manifest.pipelines:
        checkpoints = blobs_of(settings, pipeline, "checkpoints")
        for name in list(blob_names(checkpoints, "checkpoints")):
            checkpoints.delete(name)


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _staging(data_dir: Path) -> Iterator[Path]:
    """An empty folder on the data directory's disk; what a killed restore left is removed first."""
    _remove(*data_dir.glob(f"{_STAGING}*"))
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=_STAGING) as folder:
        yield Path(folder)


@contextmanager
def _written(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DependencyError(
            f"{data_dir}: cannot be restored ({error.strerror or error}); mend that, then repeat it with --force"
        ) from error
