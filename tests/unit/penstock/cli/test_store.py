"""Where checkpoints and artifacts are kept, by setting; and the key that machines must share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from penstock.cli.store import KEY_MARK, open_store
from penstock.errors import DependencyError, UsageError
from penstock.runtime.checkpoint import Checkpoint, StateIdentity
from penstock.settings import Settings
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="toy", task="regression", target="y", features=(Numeric("x"),))
CHECKPOINT = Checkpoint("learner", 0, StateIdentity("d", {}), {"examples": 1}, b"state")
KEY = "one key for all machines"


def settings(data_dir: Path, url: str | None = None, key: str | None = None) -> Settings:
    return Settings(data_dir=data_dir, store_url=url, signing_key=key)  # type: ignore[arg-type]


@pytest.fixture
def memory_url() -> Iterator[str]:
    yield "memory://test-store/prefix"
    memory = fsspec.filesystem("memory")
    if memory.exists("/test-store"):
        memory.rm("/test-store", recursive=True)


def test_without_a_url_both_stores_are_in_the_data_directory(tmp_path: Path) -> None:
    store = open_store(settings(tmp_path), PIPELINE)
    store.checkpoints.write(CHECKPOINT)
    ref = store.artifacts.put(b"model")
    assert len(list((tmp_path / "toy" / "checkpoints" / "learner" / "0").iterdir())) == 1
    assert (tmp_path / "toy" / "artifacts" / ref.uri).read_bytes() == b"model"
    assert not list(tmp_path.rglob(KEY_MARK))


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_two_machines_share_a_store(kind: str, tmp_path: Path, memory_url: str) -> None:
    url = memory_url if kind == "memory" else f"file://{tmp_path}/shared%20folder"
    one = open_store(settings(tmp_path / "one", url, KEY), PIPELINE)
    other = open_store(settings(tmp_path / "other", url, KEY), PIPELINE)
    one.checkpoints.write(CHECKPOINT)
    ref = one.artifacts.put(b"model")
    assert [stored.checkpoint for stored in other.checkpoints.candidates("learner", 0)] == [CHECKPOINT]
    assert other.artifacts.get(ref.uri, ref.digest, ref.signature) == b"model"
    if kind == "file":
        assert (tmp_path / "shared folder" / "toy" / "artifacts" / ref.uri).exists()


def test_a_store_of_another_key_is_refused_at_the_start(tmp_path: Path, memory_url: str) -> None:
    open_store(settings(tmp_path, memory_url, KEY), PIPELINE)
    open_store(settings(tmp_path, memory_url, KEY), PIPELINE)
    with pytest.raises(DependencyError, match="signed with another key") as caught:
        open_store(settings(tmp_path, memory_url, "another key of a machine"), PIPELINE)
    assert caught.value.exit_code == 3


def test_a_remote_store_needs_the_key_as_a_setting(tmp_path: Path, memory_url: str) -> None:
    with pytest.raises(UsageError, match="PENSTOCK_SIGNING_KEY") as caught:
        open_store(settings(tmp_path, memory_url), PIPELINE)
    assert caught.value.exit_code == 2


def test_a_mounted_store_may_use_the_data_directory_s_key_on_one_machine_only(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/shared"
    open_store(settings(tmp_path / "one", url), PIPELINE)
    open_store(settings(tmp_path / "one", url), PIPELINE)
    with pytest.raises(DependencyError, match="the same PENSTOCK_SIGNING_KEY"):
        open_store(settings(tmp_path / "other", url), PIPELINE)


@pytest.mark.parametrize("url", ["file://host/folder", "file://", "nonsense", "s3://"])
def test_nonsense_is_exit_2(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PENSTOCK_STORE_URL"):
        open_store(settings(tmp_path, url, KEY), PIPELINE)


def test_a_store_that_cannot_be_used_is_exit_3_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DependencyError, match="PENSTOCK_STORE_URL") as caught:
        open_store(settings(tmp_path, f"file://{tmp_path}/file", KEY), PIPELINE)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
