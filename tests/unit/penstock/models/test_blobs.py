"""Blob folders: local and behind fsspec, alike; and what a remote store can do to its callers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from penstock.errors import ArtifactError, CheckpointError, DependencyError, UsageError
from penstock.models.artifact import Artifacts, Signer
from penstock.models.blobs import BlobFolder, LocalBlobs, StoreUnavailableError, create_once
from penstock.models.blobs_remote import TRIES, FsspecBlobs, fsspec_blobs, shown
from penstock.runtime.checkpoint import Checkpoint, Checkpoints, StateIdentity

SIGNER = Signer(b"a key of enough length")


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"{request.node.name}".replace("[", "-").replace("]", "")
    yield f"memory://{name}"
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/{name}"):
        memory.rm(f"/{name}", recursive=True)


@pytest.fixture(params=["local", "fsspec"])
def again(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> Callable[[], BlobFolder]:
    """Another machine's view of the same folder."""
    if request.param == "local":
        return lambda: LocalBlobs(tmp_path / "blobs")
    return lambda: fsspec_blobs(url).below("blobs")


def test_what_one_writes_all_read_and_list(again: Callable[[], BlobFolder]) -> None:
    again().write("a/b/one", b"1")
    again().write("a/b/two", b"")
    again().write("a/b/one", b"new")
    assert (again().read("a/b/one"), again().read("a/b/two")) == (b"new", b"")
    assert sorted(again().names("a/b")) == ["one", "two"]
    assert again().names("a/c") == []
    assert again().where("a/b/one").endswith("blobs/a/b/one")


def test_a_blob_that_is_not_there_is_not_found_and_may_be_deleted(again: Callable[[], BlobFolder]) -> None:
    folder = again()
    with pytest.raises(FileNotFoundError):
        folder.read("a/b")
    folder.write("a/b", b"1")
    folder.delete("a/b")
    folder.delete("a/b")
    with pytest.raises(FileNotFoundError):
        folder.read("a/b")


def test_an_address_made_on_one_machine_resolves_on_another(again: Callable[[], BlobFolder]) -> None:
    ref = Artifacts(again(), SIGNER).put(b"model")
    other = Artifacts(again(), SIGNER)
    assert other.get(ref.uri, ref.digest, ref.signature) == b"model"
    other.discard(ref.uri)
    with pytest.raises(ArtifactError):
        Artifacts(again(), SIGNER).get(ref.uri, ref.digest, ref.signature)


def checkpoint(number: int) -> Checkpoint:
    return Checkpoint("learner", 2, StateIdentity("d", {}), {"examples": number}, b"state")


def test_checkpoints_go_on_where_another_machine_left_them(again: Callable[[], BlobFolder]) -> None:
    for number in range(5):
        Checkpoints(again(), SIGNER, keep=3).write(checkpoint(number))
    store = Checkpoints(again(), SIGNER)
    assert [stored.checkpoint for stored in store.candidates("learner", 2)] == [checkpoint(n) for n in (4, 3, 2)]
    store.discard(next(store.candidates("learner", 2)))
    assert [stored.checkpoint for stored in store.candidates("learner", 2)] == [checkpoint(n) for n in (3, 2)]


class Faulty:
    """A file system whose every request raises, waits, or is answered after some failures."""

    def __init__(
        self, error: Exception | None = None, failures: int = 10**9, wait: threading.Event | None = None
    ) -> None:
        self.error, self.failures, self.wait, self.asked = error, failures, wait, 0

    def cat_file(self, path: str) -> bytes:
        return self._answer()

    def pipe_file(self, path: str, data: bytes) -> None:
        self._answer()

    def ls(self, path: str, detail: bool) -> list[str]:
        self._answer()
        return []

    def rm_file(self, path: str) -> None:
        self._answer()

    def _answer(self) -> bytes:
        self.asked += 1
        if self.wait is not None:
            self.wait.wait(30)
        if self.error is not None and self.asked <= self.failures:
            raise self.error
        return b"it"


def folder_of(faulty: Faulty, timeout_s: float = 5.0) -> tuple[FsspecBlobs, list[float]]:
    pauses: list[float] = []
    return FsspecBlobs(faulty, "/root", "s3://bucket", timeout_s=timeout_s, sleep=pauses.append), pauses


def test_a_request_that_fails_for_a_moment_is_made_again() -> None:
    faulty = Faulty(RuntimeError("slow down"), failures=TRIES - 1)
    folder, pauses = folder_of(faulty)
    assert folder.read("a") == b"it"
    assert pauses == [0.1, 0.2, 0.4]


def test_a_store_that_fails_is_unavailable_in_one_line_whatever_it_raises() -> None:
    faulty = Faulty(KeyError("no credentials\nand more"))
    folder, _ = folder_of(faulty)
    for call in (folder.read, folder.names, folder.delete, lambda name: folder.write(name, b"")):
        with pytest.raises(StoreUnavailableError) as caught:
            call("a")
        assert "KeyError" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert faulty.asked == 4 * TRIES


def test_a_store_that_does_not_answer_is_left_after_the_time_limit() -> None:
    release = threading.Event()
    folder, pauses = folder_of(Faulty(wait=release), timeout_s=0.05)
    started = time.monotonic()
    try:
        with pytest.raises(StoreUnavailableError, match=r"no answer from the store within 0.05 s"):
            folder.read("a")
    finally:
        release.set()
    assert time.monotonic() - started < 5
    assert pauses == []


def test_the_stores_turn_an_unavailable_store_into_their_own_errors() -> None:
    folder, _ = folder_of(Faulty(ConnectionResetError("reset by peer")))
    checkpoints, artifacts = Checkpoints(folder, SIGNER), Artifacts(folder, SIGNER)
    with pytest.raises(CheckpointError, match=r"s3://bucket/learner/2.*reset by peer") as caught:
        checkpoints.write(checkpoint(1))
    assert caught.value.retriable
    with pytest.raises(CheckpointError, match="reset by peer"):
        next(checkpoints.candidates("learner", 2))
    with pytest.raises(ArtifactError, match="reset by peer"):
        artifacts.put(b"model")
    with pytest.raises(ArtifactError, match="reset by peer"):
        artifacts.get("aa/" + "0" * 64, "0" * 64, "")
    artifacts.discard("aa/" + "0" * 64)


@pytest.mark.parametrize("bad", ["nonsense", "s3://", "http://host/x", "simplecache::s3://a/b", "gossip://a/b"])
def test_nonsense_is_a_usage_error(bad: str) -> None:
    with pytest.raises(UsageError, match="PENSTOCK_STORE_URL"):
        fsspec_blobs(bad)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core

    def missing(*_: object, **__: object) -> object:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(DependencyError, match="Install s3fs") as caught:
        fsspec_blobs("s3://bucket/prefix")
    assert caught.value.exit_code == 3


def test_a_password_is_not_shown() -> None:
    assert shown("ftp://me:secret@host/folder") == "ftp://host/folder"
    assert shown("s3://bucket/a@b") == "s3://bucket/a@b"


def test_what_is_created_once_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "name"
    create_once(path, b"first")
    create_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in path.parent.iterdir()] == ["name"]
