"""Artifacts: content-addressed, signed bytes. Nothing is loaded before its digest and signature are checked."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

from penstock.errors import ArtifactError
from penstock.models.blobs import BlobFolder, LocalBlobs, create_once, reason_of
from penstock.models.blobs import write_durably as write_durably

_log = structlog.get_logger()

#: Addresses of `Artifacts`. They come from the log: nothing else is joined to a path.
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
        create_once(path, secrets.token_hex(32).encode())
    key = path.read_bytes().strip()
    if not key:
        raise ArtifactError(f"{path}: empty; delete it if nothing was signed yet, or restore it from a backup")
    return key


class Artifacts:
    """Artifacts in a blob folder, named by their digest: an address means the same on every machine."""

    def __init__(self, blobs: BlobFolder, signer: Signer) -> None:
        self._blobs = blobs
        self._signer = signer

    def put(self, data: bytes) -> ArtifactRef:
        """Store ``data``; a damaged blob of the same name is replaced."""
        digest = hashlib.sha256(data).hexdigest()
        uri = f"{digest[:2]}/{digest}"
        try:
            self._blobs.write(uri, data)
        except OSError as error:
            where = self._blobs.where(uri)
            raise ArtifactError(f"artifact {where}: {reason_of(error)}; free or mend the disk or store") from error
        return ArtifactRef(uri, digest, self._signer.sign(digest), len(data))

    def get(self, uri: str, digest: str, signature: str) -> bytes:
        """The verified bytes of ``uri`` (relative to the folder; nothing outside it is read)."""
        try:
            data = self._blobs.read(_checked(uri))
        except OSError as error:
            raise ArtifactError(f"artifact {uri}: {reason_of(error)}") from error
        self._signer.verified_digest(data, digest, signature, f"artifact {uri}")
        return data

    def discard(self, uri: str) -> None:
        """Delete the blob (nothing outside the folder). One that cannot be deleted only takes room."""
        try:
            self._blobs.delete(_checked(uri))
        except OSError as error:
            _log.warning("artifact not deleted", uri=uri, why=reason_of(error))


def _checked(uri: str) -> str:
    if not _URI.match(uri):
        raise ArtifactError(f"artifact {uri!r}: not an address of this artifact directory")
    return uri


def DirectoryArtifacts(directory: Path, signer: Signer) -> Artifacts:
    """Artifacts in a local directory."""
    return Artifacts(LocalBlobs(directory), signer)


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
