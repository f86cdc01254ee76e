"""Checkpoints: a stage's state at known input offsets, so that the fold need not start at the beginning.

A checkpoint is only a cache. Where checkpoints are kept is decided by the blob folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import structlog

from penstock.errors import ArtifactError, CheckpointError
from penstock.models.artifact import Signer
from penstock.models.blobs import WRITING, BlobFolder, LocalBlobs, StoreUnavailableError, reason_of
from penstock.runtime.checkpoint_frame import SEAL_BYTES
from penstock.runtime.checkpoint_frame import Checkpoint as Checkpoint
from penstock.runtime.checkpoint_frame import StateIdentity as StateIdentity
from penstock.runtime.checkpoint_frame import library_versions as library_versions
from penstock.runtime.checkpoint_frame import pack as pack
from penstock.runtime.checkpoint_frame import unpack as unpack

_log = structlog.get_logger()
_T = TypeVar("_T")

SUFFIX = ".checkpoint"


class StoredCheckpoint(NamedTuple):
    """A checkpoint with its name in the store."""

    name: str
    checkpoint: Checkpoint


class CheckpointStore(Protocol):
    """Keeps the newest few checkpoints per stage and partition."""

    def write(self, checkpoint: Checkpoint) -> int:
        """Store ``checkpoint`` durably as the newest, let go of the oldest; return its size in bytes.

        Raises:
            CheckpointError: nothing was stored; what was there is untouched.
        """
        ...

    def candidates(self, stage: str, partition: int) -> Iterator[StoredCheckpoint]:
        """The intact checkpoints, newest first. What is truncated or tampered with is skipped with a warning.

        Raises:
            CheckpointError: the store cannot be reached.
        """
        ...

    def discard(self, stored: StoredCheckpoint) -> None:
        """Forget one; one that is not there is no error. Raises ``CheckpointError``: the store cannot be reached."""
        ...


class Checkpoints:
    """Checkpoints as blobs ``<stage>/<partition>/<sequence>-<digest>.checkpoint``; names sort by age.

    The sequence is one more than the greatest there is. Two writers (one of them stale) may take the same: the
    digest tells their blobs apart, and either is right, as both are caches of the same fold.
    """

    def __init__(self, blobs: BlobFolder, signer: Signer, keep: int = 3) -> None:
        self._blobs = blobs
        self._signer = signer
        self._keep = keep

    def write(self, checkpoint: Checkpoint) -> int:
        """See ``CheckpointStore.write``."""
        data = pack(checkpoint, self._signer)
        folder = _folder(checkpoint.stage, checkpoint.partition)
        place = folder
        try:
            there = self._blobs.names(folder)
            names = _newest_first(there)
            sequence = 1 + (int(names[0].split("-")[0]) if names else 0)
            place = f"{folder}/{sequence:012d}-{data[-SEAL_BYTES:][:32].decode()}{SUFFIX}"
            self._blobs.write(place, data)
            for old in [*names[self._keep - 1 :], *(name for name in there if name.startswith(WRITING))]:
                self._blobs.delete(f"{folder}/{old}")
        except OSError as error:
            where = self._blobs.where(place)
            raise CheckpointError(f"{where}: {reason_of(error)}; free or mend the disk or store") from error
        return len(data)

    def candidates(self, stage: str, partition: int) -> Iterator[StoredCheckpoint]:
        """See ``CheckpointStore.candidates``."""
        folder = _folder(stage, partition)
        for name in _newest_first(self._reached(folder, self._blobs.names)):
            place = f"{folder}/{name}"
            where = self._blobs.where(place)
            try:
                checkpoint = unpack(self._reached(place, self._blobs.read), self._signer, where)
                if (checkpoint.stage, checkpoint.partition) != (stage, partition):
                    raise ArtifactError(f"{where}: made by {checkpoint.stage}/{checkpoint.partition}")
            except (ArtifactError, OSError) as error:
                _log.warning("checkpoint skipped", stage=stage, partition=partition, why=str(error))
                continue
            yield StoredCheckpoint(name, checkpoint)

    def discard(self, stored: StoredCheckpoint) -> None:
        """See ``CheckpointStore.discard``."""
        place = f"{_folder(stored.checkpoint.stage, stored.checkpoint.partition)}/{stored.name}"
        self._reached(place, self._blobs.delete)

    def _reached(self, name: str, call: Callable[[str], _T]) -> _T:
        """A store that is away is no store without checkpoints: folding all again is not what anybody wants then."""
        try:
            return call(name)
        except StoreUnavailableError as error:
            raise CheckpointError(f"{self._blobs.where(name)}: {reason_of(error)}") from error


def _folder(stage: str, partition: int) -> str:
    return f"{stage}/{partition}"


def _newest_first(names: Iterable[str]) -> list[str]:
    """The checkpoints among ``names``. What is not named by us is left alone."""
    ours = (name for name in names if name.endswith(SUFFIX) and name.partition("-")[0].isdecimal())
    return sorted(ours, reverse=True)


def DirectoryCheckpoints(directory: Path, signer: Signer, keep: int = 3) -> Checkpoints:
    """Checkpoints in a local directory."""
    return Checkpoints(LocalBlobs(directory), signer, keep)


class MemoryCheckpoints:
    """Checkpoints in memory: backtests and tests."""

    def __init__(self, keep: int = 3) -> None:
        self._keep = keep
        self._written = 0
        self._held: dict[tuple[str, int], list[StoredCheckpoint]] = {}

    def write(self, checkpoint: Checkpoint) -> int:
        """See ``CheckpointStore.write``; the size is that of the state."""
        self._written += 1
        held = self._held.setdefault((checkpoint.stage, checkpoint.partition), [])
        held.insert(0, StoredCheckpoint(f"{self._written:012d}", checkpoint))
        del held[self._keep :]
        return len(checkpoint.state)

    def candidates(self, stage: str, partition: int) -> Iterator[StoredCheckpoint]:
        """See ``CheckpointStore.candidates``."""
        yield from list(self._held.get((stage, partition), ()))

    def discard(self, stored: StoredCheckpoint) -> None:
        """See ``CheckpointStore.discard``."""
        held = self._held.get((stored.checkpoint.stage, stored.checkpoint.partition), [])
        held[:] = [kept for kept in held if kept.name != stored.name]
