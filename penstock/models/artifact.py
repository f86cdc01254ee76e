"""Artifacts: content-addressed, signed bytes. Nothing is loaded before its digest and signature are checked."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import NamedTuple, Protocol

from penstock.errors import ArtifactError

#: Addresses of `DirectoryArtifacts`. They come from the log: nothing else is joined to a path.
_URI = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\Z")


class ArtifactRef(NamedTuple):
    """Where an artifact is and what it must be: SHA-256 of the bytes, and HMAC-SHA256 of the digest."""

    uri: str
    digest: str
    signature: str
    size_bytes: int


class ArtifactStore(Protocol):
    """Keeps artifacts by content."""

    def put(self, data: bytes) -> ArtifactRef:
        """Store ``data`` durably (the same bytes: the same reference). Raises ``ArtifactError``: it cannot."""
        ...

    def get(self, uri: str, digest: str, signature: str) -> bytes:
        """The verified bytes. Raises ``ArtifactError``: missing, other digest, or not signed by our key."""
        ...

    def discard(self, uri: str) -> None:
        """Forget an artifact that nothing refers to any more; one that is not there is no error."""
        ...


class Signer:
    """HMAC-SHA256 over digests, with one key (at least 16 bytes)."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ArtifactError("the signing key is shorter than 16 bytes; set PENSTOCK_SIGNING_KEY to a longer one")
        self._key = key

    def sign(self, digest: str) -> str:
        """The signature (hex) of a digest (hex)."""
        return hmac.new(self._key, digest.encode(), hashlib.sha256).hexdigest()

    def verified_digest(self, data: bytes, digest: str, signature: str, what: str) -> None:
        """Raise ``ArtifactError`` unless ``data`` has ``digest`` and our key signed it (``what`` names it)."""
        if hashlib.sha256(data).hexdigest() != digest:
            raise ArtifactError(f"{what}: the bytes are not those that were announced (SHA-256 differs)")
        # as bytes: compare_digest refuses text beyond ASCII, which a damaged record may hold
        if not hmac.compare_digest(self.sign(digest).encode(), signature.encode()):
            raise ArtifactError(f"{what}: not signed by this installation's key")


def signing_key(data_dir: Path, configured: str | None) -> bytes:
    """The configured key, or the data directory's own (made on first use, readable by its owner only)."""
    if configured:
        return configured.encode()
    path = data_dir / "signing.key"
    if not path.exists():
        _make_key(path)
    key = path.read_bytes().strip()
    if not key:
        raise ArtifactError(f"{path}: empty; delete it if nothing was signed yet, or restore it from a backup")
    return key


def _make_key(path: Path) -> None:
    """Whole or not at all, and never over another's: of several processes that start at once, the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_durably(path: Path, data: bytes) -> None:
    """Write, fsync and rename: after this, ``path`` holds all of ``data``; before, none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class DirectoryArtifacts:
    """Artifacts as files named by their digest."""

    def __init__(self, directory: Path, signer: Signer) -> None:
        self._directory = directory
        self._signer = signer

    def put(self, data: bytes) -> ArtifactRef:
        """Store ``data`` (fsync + rename); a damaged file of the same name is replaced."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._directory / digest[:2] / digest
        try:
            if not path.exists() or path.read_bytes() != data:
                write_durably(path, data)
        except OSError as error:
            raise ArtifactError(f"artifact {path}: {error.strerror or error}; free or mend the disk") from error
        return ArtifactRef(f"{digest[:2]}/{digest}", digest, self._signer.sign(digest), len(data))

    def get(self, uri: str, digest: str, signature: str) -> bytes:
        """The verified bytes of ``uri`` (relative to the directory; nothing outside it is read)."""
        path = self._path(uri)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"artifact {uri}: {error.strerror or error}") from error
        self._signer.verified_digest(data, digest, signature, f"artifact {uri}")
        return data

    def discard(self, uri: str) -> None:
        """Delete the file (nothing outside the directory)."""
        self._path(uri).unlink(missing_ok=True)

    def _path(self, uri: str) -> Path:
        if not _URI.match(uri):
            raise ArtifactError(f"artifact {uri!r}: not an address of this artifact directory")
        return self._directory / uri


class MemoryArtifacts:
    """Artifacts in memory: backtests and tests."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._held: dict[str, bytes] = {}

    def put(self, data: bytes) -> ArtifactRef:
        """Keep ``data``."""
        digest = hashlib.sha256(data).hexdigest()
        self._held[digest] = data
        return ArtifactRef(digest, digest, self._signer.sign(digest), len(data))

    def get(self, uri: str, digest: str, signature: str) -> bytes:
        """The verified bytes."""
        try:
            data = self._held[uri]
        except KeyError:
            raise ArtifactError(f"artifact {uri}: not there") from None
        self._signer.verified_digest(data, digest, signature, f"artifact {uri}")
        return data

    def discard(self, uri: str) -> None:
        """Forget it."""
        self._held.pop(uri, None)
