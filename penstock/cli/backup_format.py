"""The file of a backup: a tar whose last member is a manifest with the digest of every other one."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import msgspec

from penstock.errors import UsageError

FORMAT = 1
MANIFEST = "manifest.json"
LOG, REGISTRY, KEY = "log.db", "mlflow.db", "signing.key"
REGISTRY_FILES = "mlflow-artifacts"
#: What a demo needs to be resumed.
DEMO_FILES = ("demo.json", "stream.tsv")
PIPELINES = "pipelines"
STORES = ("checkpoints", "artifacts")

_TOP = {LOG, REGISTRY, KEY, *DEMO_FILES}
_PART = re.compile(r"[A-Za-z0-9._=@+-][A-Za-z0-9 ._=@+-]*\Z")
_CHUNK = 1 << 20


class File(msgspec.Struct, frozen=True):
    """What a member of the tar must be."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds. ``key_mark``: the signature of its own name, which tells whether a key is the right one.

    ``data_dir``: where it was made; the registry's database names that folder. ``log``: ``kafka`` means that the log
    is not in the backup.
    """

    format: int
    version: str
    created: str
    pipelines: list[str]
    log: Literal["embedded", "kafka"]
    registry: bool
    data_dir: str
    key_mark: str
    files: dict[str, File]


class Packer:
    """Adds members to a tar and notes their digests."""

    def __init__(self, tar: tarfile.TarFile, created_s: int) -> None:
        self._tar, self._created_s = tar, created_s
        self.files: dict[str, File] = {}

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add ``data`` as ``name``; a name that was added before is left as it was."""
        if name not in self.files:
            self._add(name, io.BytesIO(data), len(data))

    def add_file(self, name: str, path: Path) -> None:
        """Add a file that nobody changes meanwhile."""
        with path.open("rb") as file:
            self._add(name, file, path.stat().st_size)

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest. Without it a file is no backup, so one that was cut off is never taken for one."""
        data = msgspec.json.encode(manifest)
        self._tar.addfile(self._info(MANIFEST, len(data)), io.BytesIO(data))

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        hashed = _Hashed(file)
        self._tar.addfile(self._info(check_name(name), size), hashed)
        self.files[name] = File(size, hashed.sha256.hexdigest())

    def _info(self, name: str, size: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, self._created_s, 0o600
        return info


class _Hashed(io.RawIOBase):
    """Hashes what is read through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


def check_name(name: str) -> str:
    """``name``, if it is one that a backup may hold: below its own folders, nothing that climbs out of them.

    Raises:
        UsageError: it is not.
    """
    parts = name.split("/")
    safe = all(_PART.match(part) and part not in (".", "..") for part in parts)
    known = (
        name in _TOP
        or (len(parts) > 1 and parts[0] == REGISTRY_FILES)
        or (len(parts) > 3 and parts[0] == PIPELINES and parts[2] in STORES)
    )
    if not (safe and known):
        raise UsageError(f"backup: {name[:100]!r} is no name of a file in a backup")
    return name


def unpack(source: Path, target: Path) -> Manifest:
    """Unpack a backup into the empty folder ``target``, and check every byte of it against the manifest.

    Only regular files of known names are written. (A link, a device or a name that climbs out of the folder ends it.)

    Raises:
        UsageError: ``source`` is no backup, is damaged, cut off, or holds what no backup holds.
        OSError: ``source`` cannot be read, or ``target`` not written.
    """
    found: dict[str, File] = {}
    manifest = None
    with _readable(source), tarfile.open(source, "r:*") as tar:
        for member in tar:
            if not member.isreg() or member.name in found or manifest is not None:
                raise UsageError(f"{source}: holds {member.name[:100]!r}, which no backup holds in that way")
            content = tar.extractfile(member)
            assert content is not None  # noqa: S101 - regular files have content
            if member.name == MANIFEST:
                manifest = _read_manifest(source, content.read())
            else:
                found[member.name] = _write(content, target / check_name(member.name))
    if manifest is None:
        raise UsageError(f"{source}: it has no manifest: it is no backup, or was cut off")
    wrong = sorted(name for name in found.keys() | manifest.files.keys() if found.get(name) != manifest.files.get(name))
    if wrong:
        raise UsageError(
            f"{source}: damaged: {wrong[0]} is missing, or not what the manifest says ({len(wrong)} in all)"
        )
    return manifest


def _read_manifest(source: Path, data: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{source}: its manifest does not decode: {error}") from error
    if manifest.format != FORMAT:
        raise UsageError(f"{source}: a backup of format {manifest.format}, this version reads {FORMAT}")
    return manifest


def _write(content: IO[bytes], path: Path) -> File:
    path.parent.mkdir(parents=True, exist_ok=True)
    hashed, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        while chunk := content.read(_CHUNK):
            hashed.update(chunk)
            size += len(chunk)
            file.write(chunk)
    return File(size, hashed.hexdigest())


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    if not source.is_file():
        raise UsageError(f"{source}: no such file")
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{source}: damaged, or no backup: {error}") from error


def files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """The files below ``root`` as (name relative to it, path), sorted."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(root).as_posix(), path
