from __future__ import annotations

import hashlib
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.errors import ArtifactError
from penstock.models.artifact import (
    ArtifactStore,
    DirectoryArtifacts,
    MemoryArtifacts,
    Signer,
    signing_key,
    write_durably,
)

KEY = b"a key of sixteen bytes or more"


@pytest.fixture(params=["directory", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], ArtifactStore]:
    """Stores of one place, by key."""
    held: dict[bytes, ArtifactStore] = {}

    def build(key: bytes) -> ArtifactStore:
        if request.param == "directory":
            return DirectoryArtifacts(tmp_path / "artifacts", Signer(key))
        return held.setdefault(key, MemoryArtifacts(Signer(key)))

    return build


def test_what_was_put_is_got(make: Callable[[bytes], ArtifactStore]) -> None:
    store = make(KEY)
    ref = store.put(b"model")
    assert store.get(ref.uri, ref.digest, ref.signature) == b"model"
    assert (ref.digest, ref.size_bytes) == (hashlib.sha256(b"model").hexdigest(), 5)
    assert store.put(b"model") == ref


def test_another_digest_or_signature_is_refused(make: Callable[[bytes], ArtifactStore]) -> None:
    store = make(KEY)
    ref, other = store.put(b"model"), store.put(b"other")
    with pytest.raises(ArtifactError, match="SHA-256"):
        store.get(ref.uri, other.digest, other.signature)
    for signature in ("", other.signature, ref.signature.upper(), "é" * 64):
        with pytest.raises(ArtifactError, match="not signed"):
            store.get(ref.uri, ref.digest, signature)


def test_what_was_discarded_is_gone_and_may_be_discarded_again(make: Callable[[bytes], ArtifactStore]) -> None:
    store = make(KEY)
    ref = store.put(b"model")
    store.discard(ref.uri)
    store.discard(ref.uri)
    with pytest.raises(ArtifactError):
        store.get(ref.uri, ref.digest, ref.signature)


def test_another_installation_s_signature_is_refused(tmp_path: Path) -> None:
    ref = DirectoryArtifacts(tmp_path, Signer(b"another key, also long enough")).put(b"model")
    with pytest.raises(ArtifactError, match="not signed by this installation"):
        DirectoryArtifacts(tmp_path, Signer(KEY)).get(ref.uri, ref.digest, ref.signature)


@pytest.mark.parametrize("damage", [b"", b"mode", b"model!", b"MODEL"])
def test_a_damaged_file_is_refused_and_mended_by_the_next_put(damage: bytes, tmp_path: Path) -> None:
    store = DirectoryArtifacts(tmp_path, Signer(KEY))
    ref = store.put(b"model")
    (tmp_path / ref.uri).write_bytes(damage)
    with pytest.raises(ArtifactError, match="SHA-256"):
        store.get(ref.uri, ref.digest, ref.signature)
    assert store.put(b"model") == ref
    assert store.get(ref.uri, ref.digest, ref.signature) == b"model"


@pytest.mark.parametrize(
    "uri", ["", ".", "../secret", "/etc/hostname", "aa/../../secret", "a\0b", "aa/" + "0" * 64 + "\n"]
)
def test_nothing_outside_the_directory_is_read_or_deleted(uri: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    store = DirectoryArtifacts(tmp_path / "artifacts", Signer(KEY))
    digest = hashlib.sha256(b"secret").hexdigest()
    with pytest.raises(ArtifactError):
        store.get(uri, digest, Signer(KEY).sign(digest))
    with pytest.raises(ArtifactError):
        store.discard(uri)
    assert secret.exists()


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ArtifactError, match="PENSTOCK_SIGNING_KEY"):
        Signer(b"short")


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    key = signing_key(tmp_path / "new" / "data", None)
    assert signing_key(tmp_path / "new" / "data", None) == key
    assert len(key) == 64
    assert stat.S_IMODE((tmp_path / "new" / "data" / "signing.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "new" / "data").iterdir()] == ["signing.key"]


def test_a_configured_key_wins_and_writes_nothing(tmp_path: Path) -> None:
    assert signing_key(tmp_path, "configured and long enough") == b"configured and long enough"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_key_file_is_not_replaced_in_silence(tmp_path: Path) -> None:
    (tmp_path / "signing.key").touch()
    with pytest.raises(ArtifactError, match="empty"):
        signing_key(tmp_path, None)


def _key_of(directory: Path) -> bytes:
    return signing_key(directory, None)


def test_processes_that_start_at_once_agree_on_the_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    with context.Pool(4) as pool:
        keys = pool.map(_key_of, [tmp_path / str(n // 8) for n in range(64)], chunksize=1)
    assert len(set(keys)) == 8


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left"):
        DirectoryArtifacts(tmp_path, Signer(KEY)).put(b"model")
