"""``penstock backup``: one file that the system can be restored from, made while it runs."""

from __future__ import annotations

import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from penstock import __version__
from penstock.cli.backup_format import (
    DEMO_FILES,
    FORMAT,
    KEY,
    LOG,
    PIPELINES,
    REGISTRY,
    REGISTRY_FILES,
    Manifest,
    Packer,
    files_below,
)
from penstock.cli.backup_sources import (
    blobs_in,
    blobs_of,
    copy_database,
    local_pipelines,
    log_file,
    moment_of,
    named_artifacts,
)
from penstock.cli.context import Context, of
from penstock.errors import DependencyError, UsageError
from penstock.models.artifact import Signer, signing_key
from penstock.settings import Settings

#: What is signed so that another machine can tell whether it has the same key.
KEY_MARK = "backup"


def backup(
    ctx: typer.Context,
    target: Annotated[
        Path,
        typer.Argument(
            help="The file to write (a .tar.gz), or a folder for a file named by the time.", metavar="TARGET"
        ),
    ],
    with_key: Annotated[
        bool, typer.Option("--with-key", help="Put the signing key in too: then the file is a secret.")
    ] = False,
) -> None:
    """Save checkpoints, models, registry and the embedded log in one file, also while the system runs.

    The signing key stays out (unless `--with-key`): keep it apart, nothing can be restored without it. A log on Kafka
    is Kafka's to keep, and a registry on an MLflow server is the server's: neither is in the file.
    """
    context = of(ctx)
    settings = context.settings
    if with_key and settings.signing_key is not None:
        raise UsageError(
            "backup --with-key: the key is in PENSTOCK_SIGNING_KEY, not in the data directory; keep it there"
        )
    if not settings.data_dir.is_dir() or not any(settings.data_dir.iterdir()):
        raise UsageError(f"{settings.data_dir}: nothing to back up here; name the data directory with --data-dir")
    created = datetime.now(UTC)
    path = target / f"penstock-{created:%Y%m%dT%H%M%SZ}.tar.gz" if target.is_dir() else target
    with _new_file(path) as writing:
        manifest = _write(context, writing, created, with_key=with_key)
    facts = {"file": str(path), "bytes": path.stat().st_size, "files": len(manifest.files)}
    facts |= {"pipelines": manifest.pipelines, "log": manifest.log, "registry": manifest.registry, "key": with_key}
    context.show(facts, _told(path, manifest, settings))


def _write(context: Context, path: Path, created: datetime, *, with_key: bool) -> Manifest:
    """Write the backup into ``path``. The order is what makes it whole, though the system goes on meanwhile:

    1. Checkpoints, before the log: the log's copy is then past all of them, but for the newest ones of transactions
       that were never made, which recovery discards. (After the log, all of them could be ahead of it, and those that
       were not be pruned by then.)
    2. The moment: a read transaction on the log. What follows is seen as it was now.
    3. The artifacts that the newest `models` records name at that moment. They were stored before they were named,
       and a learner discards one only after eight newer ones, so they are taken at once, before the long copy.
    4. The log, as of the moment.
    5. The registry, after the log: what is registered is looked up before it is created, so a registry that knows
       more than the log is harmless; a version that only the log knows would stop the retrainer.
    6. All other artifacts. Those of batch models are never discarded.
    """
    settings = context.settings
    signer = Signer(_key(settings))
    log = log_file(settings)
    if log is not None and not log.is_file():
        raise UsageError(
            f"{log}: nothing to back up here: there is no embedded log; name the data directory with --data-dir, "
            "or the log with --log"
        )
    pipelines = local_pipelines(settings.data_dir) if settings.store_url is None else [context.pipeline().name]
    with (
        tarfile.open(path, "w:gz", compresslevel=3) as tar,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as scratch,
    ):
        packer = Packer(tar, int(created.timestamp()))
        for pipeline in pipelines:  # 1
            _add_blobs(packer, settings, pipeline, "checkpoints")
        if log is not None:
            with moment_of(log) as moment:  # 2
                for pipeline in pipelines:  # 3
                    found = named_artifacts(moment, pipeline, blobs_of(settings, pipeline, "artifacts"), signer)
                    for uri, data in found.items():
                        packer.add_bytes(f"{PIPELINES}/{pipeline}/artifacts/{uri}", data)
                _add_database(packer, LOG, moment, Path(scratch))  # 4
        registry = _add_registry(packer, settings, Path(scratch))  # 5
        for pipeline in pipelines:  # 6
            _add_blobs(packer, settings, pipeline, "artifacts")
        for name in DEMO_FILES:
            if (settings.data_dir / name).is_file():
                packer.add_bytes(name, (settings.data_dir / name).read_bytes())
        if not packer.files:
            raise UsageError(
                f"{settings.data_dir}: nothing to back up here: no checkpoints, models, registry or embedded log; "
                "name the data directory with --data-dir, or the store with PENSTOCK_STORE_URL"
            )
        if with_key:
            packer.add_bytes(KEY, (settings.data_dir / KEY).read_bytes())
        manifest = Manifest(
            format=FORMAT,
            version=__version__,
            created=created.isoformat(timespec="seconds"),
            pipelines=pipelines,
            log="kafka" if log is None else "embedded",
            registry=registry,
            data_dir=str(settings.data_dir.resolve()),
            key_mark=signer.sign(KEY_MARK),
            files=packer.files,
        )
        packer.finish(manifest)
    return manifest


def _key(settings: Settings) -> bytes:
    configured = settings.signing_key
    return signing_key(settings.data_dir, configured.get_secret_value() if configured else None)


def _add_blobs(packer: Packer, settings: Settings, pipeline: str, store: str) -> None:
    for name, data in blobs_in(blobs_of(settings, pipeline, store), store):
        packer.add_bytes(f"{PIPELINES}/{pipeline}/{store}/{name}", data)


def _add_database(packer: Packer, name: str, moment: sqlite3.Connection, scratch: Path) -> None:
    copy_database(moment, scratch / name)
    packer.add_file(name, scratch / name)
    (scratch / name).unlink()


def _add_registry(packer: Packer, settings: Settings, scratch: Path) -> bool:
    """Whether there is one in the data directory. Its files come after its database, which names them."""
    database = settings.data_dir / REGISTRY
    if settings.mlflow_tracking_uri is not None or not database.is_file():
        return False
    with moment_of(database) as moment:
        _add_database(packer, REGISTRY, moment, scratch)
    for name, path in files_below(settings.data_dir / REGISTRY_FILES):
        packer.add_bytes(f"{REGISTRY_FILES}/{name}", path.read_bytes())
    return True


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A file to write beside ``path``; it gets that name when all of it is on the disk, and goes if anything fails."""
    if path.exists():
        raise UsageError(f"{path}: is there already; a backup never replaces another file")
    writing = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            writing.touch(mode=0o600)
            yield writing
            with writing.open("rb") as file:
                os.fsync(file.fileno())
            writing.rename(path)
        except OSError as error:
            raise DependencyError(f"{path}: the backup cannot be written ({error.strerror or error})") from error
    finally:
        writing.unlink(missing_ok=True)


def _told(path: Path, manifest: Manifest, settings: Settings) -> str:
    lines = [f"{path}: {len(manifest.files)} files of {', '.join(manifest.pipelines) or 'no pipeline'}"]
    if manifest.log == "kafka":
        lines.append("the log is Kafka's and is not in it")
    if settings.mlflow_tracking_uri is not None:
        lines.append("the registry is an MLflow server's and is not in it")
    if KEY not in manifest.files:
        where = "PENSTOCK_SIGNING_KEY" if settings.signing_key else settings.data_dir / KEY
        lines.append(f"the signing key ({where}) is not in it: keep a copy apart, nothing can be restored without it")
    return "\n".join(lines)
