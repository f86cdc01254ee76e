"""Where this process keeps checkpoints and artifacts, and the key that signs them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from penstock.cli.compose import state_dir
from penstock.errors import DependencyError, UsageError
from penstock.models.artifact import Artifacts, Signer, signing_key
from penstock.models.blobs import BlobFolder, LocalBlobs, reason_of
from penstock.models.blobs_remote import fsspec_blobs
from penstock.runtime.checkpoint import Checkpoints
from penstock.settings import Settings
from penstock.spec import Pipeline

#: Holds the signature of its own name, so that a machine with another key is told so before it starts.
KEY_MARK = "signed-by"


class Store(NamedTuple):
    """Both stores of a pipeline."""

    checkpoints: Checkpoints
    artifacts: Artifacts


def open_store(settings: Settings, pipeline: Pipeline) -> Store:
    """Both stores, below ``PENSTOCK_STORE_URL`` or else in the data directory.

    With a URL, a small blob is read (the first time: written), so that a store that cannot be used says so now.

    Raises:
        UsageError: the URL names no store, or other machines could not know the signing key.
        DependencyError: the store cannot be used, or was signed with another key.
        ArtifactError: the key cannot be used.
    """
    url, data_dir = settings.store_url, settings.data_dir
    if url is None:
        directory = state_dir(data_dir, pipeline)
        return _stores(LocalBlobs(directory / "checkpoints"), LocalBlobs(directory / "artifacts"), _signer(settings))
    mounted = _mounted(url)
    if mounted is None and settings.signing_key is None:
        raise UsageError(
            "PENSTOCK_STORE_URL is shared between machines: set PENSTOCK_SIGNING_KEY (at least 16 characters, "
            "the same on all of them), which checkpoints and models are signed with"
        )
    signer = _signer(settings)
    if mounted is not None:
        root = mounted / pipeline.name
        _check_key(LocalBlobs(root), signer)
        return _stores(LocalBlobs(root / "checkpoints"), LocalBlobs(root / "artifacts"), signer)
    blobs = fsspec_blobs(url).below(pipeline.name)
    _check_key(blobs, signer)
    return _stores(blobs.below("checkpoints"), blobs.below("artifacts"), signer)


def _stores(checkpoints: BlobFolder, artifacts: BlobFolder, signer: Signer) -> Store:
    return Store(Checkpoints(checkpoints, signer), Artifacts(artifacts, signer))


def _signer(settings: Settings) -> Signer:
    configured = settings.signing_key
    return Signer(signing_key(settings.data_dir, configured.get_secret_value() if configured else None))


def _mounted(url: str) -> Path | None:
    """The directory of a ``file://`` URL; None for other URLs."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    if parts.netloc or not parts.path.strip("/"):
        raise UsageError(f"PENSTOCK_STORE_URL: {url!r} names no directory; use `file:///path/to/directory`")
    return Path(unquote(parts.path))


def _check_key(blobs: BlobFolder, signer: Signer) -> None:
    """Compare our mark with that of the store's first user; leave it where we are the first."""
    mark = signer.sign(KEY_MARK).encode()
    try:
        try:
            found = blobs.read(KEY_MARK)
        except FileNotFoundError:
            blobs.write(KEY_MARK, mark)
            found = blobs.read(KEY_MARK)  # of several that start at once, the last writer's
    except OSError as error:
        raise DependencyError(f"PENSTOCK_STORE_URL: {blobs.where('')}: {reason_of(error)}") from error
    if found != mark:
        raise DependencyError(
            f"{blobs.where(KEY_MARK)}: this store was signed with another key; set the same PENSTOCK_SIGNING_KEY "
            "on every machine (or delete that file, and what was signed before is refused)"
        )
