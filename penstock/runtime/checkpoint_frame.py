"""The frame of a checkpoint: which state it is, and its bytes, hashed and signed.

State is opaque here: nothing is unpickled, and nothing but the frame is read before the signature is checked.
"""

from __future__ import annotations

import hashlib
import platform
import struct
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version

import msgspec

from penstock.errors import ArtifactError
from penstock.models.artifact import Signer

#: Ends with the number of the format.
MAGIC = b"PENSTOCK-CHECKPOINT-1\n"
#: Lengths of header and state.
_LENGTHS = struct.Struct(">IQ")
#: Hex digits of SHA-256 and of HMAC-SHA256, at the end of the frame.
SEAL_BYTES = 64 + 64


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


#: Raised whenever an older checkpoint of any stage would be misread: it then says so, and names the choices.
STATE_FORMAT = "5"


@lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """What a state's bits depend on: its format, python (minor), river, numpy, scipy, and the architecture."""
    return {
        "penstock state": STATE_FORMAT,
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
    if len(data) < start + SEAL_BYTES or not data.startswith(MAGIC):
        raise ArtifactError(f"{what}: truncated, or not a checkpoint of this format")
    header_length, state_length = _LENGTHS.unpack_from(data, len(MAGIC))
    if len(data) != start + header_length + state_length + SEAL_BYTES:
        raise ArtifactError(f"{what}: truncated, its length is not the one it names")
    seal = data[-SEAL_BYTES:].decode("ascii", "replace")
    body = data[:-SEAL_BYTES]
    if not seal.isascii():
        raise ArtifactError(f"{what}: its digest or signature is damaged")
    signer.verified_digest(body, seal[:64], seal[64:], what)
    try:
        header = _header_decoder.decode(body[start : start + header_length])
    except msgspec.MsgspecError as error:
        raise ArtifactError(f"{what}: its header does not decode: {error}") from error
    identity = StateIdentity(header.spec_digest, header.versions)
    return Checkpoint(header.stage, header.partition, identity, header.offsets, body[start + header_length :])
