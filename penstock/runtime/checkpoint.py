"""Checkpoints: a stage's state at known input offsets, so that the fold need not start at the beginning.

A checkpoint is only a cache, and state is opaque bytes here: nothing is unpickled, and nothing but the frame is
read before the signature is checked.
"""

from __future__ import annotations

import hashlib
import platform
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import structlog

from penstock.errors import ArtifactError, CheckpointError
from penstock.models.artifact import Signer, write_durably

_log = structlog.get_logger()

SUFFIX = ".checkpoint"
#: Ends with the number of the format.
MAGIC = b"PENSTOCK-CHECKPOINT-1\n"
#: Lengths of header and state.
_LENGTHS = struct.Struct(">IQ")
#: Hex digits of SHA-256 and of HMAC-SHA256, at the end of the frame.
_SEAL = 64 + 64


@dataclass(frozen=True, slots=True)
class StateIdentity:
    """What must be equal for a state to be continued: the state-affecting spec, library versions, architecture."""

    spec_digest: str
    versions: dict[str, str]

    def differences(self, other: StateIdentity) -> list[str]:
        """What differs in ``other``, each as ``what was -> is``; empty where a state can be continued."""
        found = [] if self.spec_digest == other.spec_digest else ["the state-affecting part of the spec"]
        for name in sorted(self.versions.keys() | other.versions.keys()):
            mine, theirs = self.versions.get(name, "none"), other.versions.get(name, "none")
            if mine != theirs:
                found.append(f"{name} {mine} -> {theirs}")
        return found


@lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """The versions that a state's bits depend on: python (minor), river, numpy, scipy; and the architecture."""
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **{library: version(library) for library in ("river", "numpy", "scipy")},
        "architecture": platform.machine(),
    }


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``state`` of one partition of a stage after all inputs below ``offsets`` (topic: next offset)."""

    stage: str
    partition: int
    identity: StateIdentity
    offsets: dict[str, int]
    state: bytes


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
        """The intact checkpoints, newest first. What is truncated or tampered with is skipped with a warning."""
        ...

    def discard(self, stored: StoredCheckpoint) -> None:
        """Forget one; one that is not there is no error."""
        ...


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    stage: str
    partition: int
    spec_digest: str
    versions: dict[str, str]
    offsets: dict[str, int]


_header_decoder = msgspec.json.Decoder(_Header)


def pack(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """The frame: magic, lengths, header (JSON), state, SHA-256 of all that, HMAC of the SHA-256 (both hex)."""
    identity = checkpoint.identity
    header = msgspec.json.encode(
        _Header(
            stage=checkpoint.stage,
            partition=checkpoint.partition,
            spec_digest=identity.spec_digest,
            versions=identity.versions,
            offsets=checkpoint.offsets,
        ),
        order="deterministic",
    )
    body = b"".join((MAGIC, _LENGTHS.pack(len(header), len(checkpoint.state)), header, checkpoint.state))
    digest = hashlib.sha256(body).hexdigest()
    return body + digest.encode() + signer.sign(digest).encode()


def unpack(data: bytes, signer: Signer, what: str) -> Checkpoint:
    """The checkpoint of a frame. Lengths, digest and signature are checked before the header is parsed.

    Raises:
        ArtifactError: truncated, another format, changed bytes, or not signed by our key; ``what`` names it.
    """
    start = len(MAGIC) + _LENGTHS.size
    if len(data) < start + _SEAL or not data.startswith(MAGIC):
        raise ArtifactError(f"{what}: truncated, or not a checkpoint of this format")
    header_length, state_length = _LENGTHS.unpack_from(data, len(MAGIC))
    if len(data) != start + header_length + state_length + _SEAL:
        raise ArtifactError(f"{what}: truncated, its length is not the one it names")
    seal = data[-_SEAL:].decode("ascii", "replace")
    body = data[:-_SEAL]
    if not seal.isascii():
        raise ArtifactError(f"{what}: its digest or signature is damaged")
    signer.verified_digest(body, seal[:64], seal[64:], what)
    try:
        header = _header_decoder.decode(body[start : start + header_length])
    except msgspec.MsgspecError as error:
        raise ArtifactError(f"{what}: its header does not decode: {error}") from error
    identity = StateIdentity(header.spec_digest, header.versions)
    return Checkpoint(header.stage, header.partition, identity, header.offsets, body[start + header_length :])


class DirectoryCheckpoints:
    """Checkpoints as files ``<stage>/<partition>/<sequence>-<digest>.checkpoint``; names sort by age.

    The sequence is one more than the greatest there is. Two writers (one of them stale) may take the same: the
    digest tells their files apart, and either is right, as both are caches of the same fold.
    """

    def __init__(self, directory: Path, signer: Signer, keep: int = 3) -> None:
        self._directory = directory
        self._signer = signer
        self._keep = keep

    def write(self, checkpoint: Checkpoint) -> int:
        """See ``CheckpointStore.write`` (fsync + rename)."""
        data = pack(checkpoint, self._signer)
        folder = self._folder(checkpoint.stage, checkpoint.partition)
        names = self._names(folder)
        sequence = 1 + (int(names[0].split("-")[0]) if names else 0)
        name = f"{sequence:012d}-{data[-_SEAL:][:32].decode()}{SUFFIX}"
        try:
            write_durably(folder / name, data)
            for old in [*names[self._keep - 1 :], *(path.name for path in folder.glob(".writing-*"))]:
                (folder / old).unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"{folder / name}: {error.strerror or error}; free or mend the disk") from error
        return len(data)

    def candidates(self, stage: str, partition: int) -> Iterator[StoredCheckpoint]:
        """See ``CheckpointStore.candidates``."""
        folder = self._folder(stage, partition)
        for name in self._names(folder):
            path = folder / name
            try:
                checkpoint = unpack(path.read_bytes(), self._signer, str(path))
                if (checkpoint.stage, checkpoint.partition) != (stage, partition):
                    raise ArtifactError(f"{path}: made by {checkpoint.stage}/{checkpoint.partition}")
            except (ArtifactError, OSError) as error:
                _log.warning("checkpoint skipped", stage=stage, partition=partition, why=str(error))
                continue
            yield StoredCheckpoint(name, checkpoint)

    def discard(self, stored: StoredCheckpoint) -> None:
        """See ``CheckpointStore.discard``."""
        folder = self._folder(stored.checkpoint.stage, stored.checkpoint.partition)
        (folder / stored.name).unlink(missing_ok=True)

    def _folder(self, stage: str, partition: int) -> Path:
        return self._directory / stage / str(partition)

    def _names(self, folder: Path) -> list[str]:
        """Newest first. What is not named by us is left alone."""
        names = [path.name for path in folder.glob(f"*-*{SUFFIX}")]
        return sorted((name for name in names if name.split("-")[0].isdecimal()), reverse=True)


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
