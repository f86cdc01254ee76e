from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ArtifactError, CheckpointError
from penstock.models.artifact import Signer
from penstock.runtime.checkpoint import (
    Checkpoint,
    DirectoryCheckpoints,
    MemoryCheckpoints,
    StateIdentity,
    library_versions,
    pack,
    unpack,
)
from penstock.runtime.checkpoint_frame import MAGIC

SIGNER = Signer(b"a key of enough length")
IDENTITY = StateIdentity("d" * 64, {"python": "3.11", "river": "0.26.1"})


def checkpoint(number: int = 0, stage: str = "learner", partition: int = 0) -> Checkpoint:
    return Checkpoint(stage, partition, IDENTITY, {"examples": number}, f"state {number}".encode())


def files(directory: Path) -> list[Path]:
    """Newest first."""
    return sorted(directory.rglob("*.checkpoint"), reverse=True)


@given(
    st.binary(max_size=200),
    st.dictionaries(st.text(min_size=1, max_size=8), st.integers(min_value=0, max_value=2**63 - 1), max_size=3),
)
def test_a_frame_round_trips(state: bytes, offsets: dict[str, int]) -> None:
    made = Checkpoint("joiner", 3, IDENTITY, offsets, state)
    assert unpack(pack(made, SIGNER), SIGNER, "it") == made


def test_every_single_flipped_bit_and_every_truncation_is_refused() -> None:
    data = pack(checkpoint(), SIGNER)
    for index in range(len(data)):
        flipped = bytearray(data)
        flipped[index] ^= 1 << (index % 8)
        with pytest.raises(ArtifactError):
            unpack(bytes(flipped), SIGNER, "it")
        with pytest.raises(ArtifactError):
            unpack(data[:index], SIGNER, "it")
    with pytest.raises(ArtifactError):
        unpack(data + b"\0", SIGNER, "it")


def test_a_frame_of_another_key_is_refused_before_its_header_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.runtime import checkpoint_frame as module

    class Unreachable:
        def decode(self, data: bytes) -> object:
            raise AssertionError("the header was parsed")

    monkeypatch.setattr(module, "_header_decoder", Unreachable())
    with pytest.raises(ArtifactError, match="not signed by this installation"):
        unpack(pack(checkpoint(), Signer(b"another key of length")), SIGNER, "it")


def test_a_signed_frame_with_a_strange_header_is_refused() -> None:
    import hashlib
    import struct

    body = MAGIC + struct.pack(">IQ", 2, 0) + b"[]"
    digest = hashlib.sha256(body).hexdigest()
    with pytest.raises(ArtifactError, match="header does not decode"):
        unpack(body + (digest + SIGNER.sign(digest)).encode(), SIGNER, "it")


@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_candidates_come_newest_first_and_the_newest_few_are_kept(kind: str, tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER, keep=3) if kind == "directory" else MemoryCheckpoints(keep=3)
    for number in range(12):
        assert store.write(checkpoint(number)) >= len(checkpoint(number).state)
    found = [stored.checkpoint for stored in store.candidates("learner", 0)]
    assert found == [checkpoint(11), checkpoint(10), checkpoint(9)]


@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_stages_and_partitions_do_not_mix(kind: str, tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER) if kind == "directory" else MemoryCheckpoints()
    store.write(checkpoint(1))
    store.write(checkpoint(2, partition=1))
    store.write(checkpoint(3, stage="joiner"))
    assert [s.checkpoint.offsets["examples"] for s in store.candidates("learner", 0)] == [1]
    assert [s.checkpoint.offsets["examples"] for s in store.candidates("learner", 1)] == [2]
    assert list(store.candidates("monitor", 0)) == []


@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_discard_forgets_one_and_is_idempotent(kind: str, tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER) if kind == "directory" else MemoryCheckpoints()
    store.write(checkpoint(1))
    store.write(checkpoint(2))
    newest = next(store.candidates("learner", 0))
    store.discard(newest)
    store.discard(newest)
    assert [s.checkpoint for s in store.candidates("learner", 0)] == [checkpoint(1)]


def test_the_newest_stays_the_newest_when_offsets_go_back(tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER)
    store.write(checkpoint(100))
    store.write(checkpoint(50))
    assert next(store.candidates("learner", 0)).checkpoint == checkpoint(50)


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "delete", "foreign"])
def test_a_harmed_checkpoint_is_skipped_and_the_older_ones_are_there(harm: str, tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER)
    for number in range(3):
        store.write(checkpoint(number))
    newest = files(tmp_path)[0]
    data = newest.read_bytes()
    if harm == "truncate":
        newest.write_bytes(data[:-1])
    elif harm == "flip":
        newest.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    elif harm == "empty":
        newest.write_bytes(b"")
    elif harm == "foreign":
        newest.write_bytes(pack(checkpoint(2), Signer(b"somebody else's key")))
    else:
        newest.unlink()
    assert [s.checkpoint for s in store.candidates("learner", 0)] == [checkpoint(1), checkpoint(0)]


def test_a_checkpoint_of_another_partition_under_this_ones_name_is_skipped(tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER)
    store.write(checkpoint(1, partition=1))
    moved = tmp_path / "learner" / "0" / files(tmp_path)[0].name
    moved.parent.mkdir()
    files(tmp_path)[0].rename(moved)
    assert list(store.candidates("learner", 0)) == []


def test_what_a_killed_writer_left_and_strange_files_do_no_harm(tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER)
    store.write(checkpoint(1))
    folder = files(tmp_path)[0].parent
    (folder / ".writing-abc").write_bytes(b"half")
    (folder / "notes-of-mine.checkpoint").write_bytes(b"")
    store.write(checkpoint(2))
    assert [s.checkpoint for s in store.candidates("learner", 0)] == [checkpoint(2), checkpoint(1)]
    assert not (folder / ".writing-abc").exists()
    assert (folder / "notes-of-mine.checkpoint").exists()


def test_equal_content_has_an_equal_digest_in_its_name(tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER)
    store.write(checkpoint(1))
    store.write(checkpoint(1))
    store.write(checkpoint(2))
    digests = [path.stem.split("-")[1] for path in files(tmp_path)]
    assert digests[1] == digests[2] != digests[0]


def test_a_write_that_fails_is_a_typed_error_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryCheckpoints(tmp_path, SIGNER)
    store.write(checkpoint(1))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        store.write(checkpoint(2))
    assert [s.checkpoint for s in store.candidates("learner", 0)] == [checkpoint(1)]


def test_differences_name_what_changed() -> None:
    other = replace(IDENTITY, versions={"python": "3.12", "river": "0.26.1", "scipy": "1.16"})
    assert IDENTITY.differences(IDENTITY) == []
    assert IDENTITY.differences(other) == ["python 3.11 -> 3.12", "scipy none -> 1.16"]
    assert IDENTITY.differences(replace(IDENTITY, spec_digest="e")) == ["the state-affecting part of the spec"]


def test_library_versions_name_all_that_state_bits_depend_on() -> None:
    assert set(library_versions()) == {"penstock state", "python", "river", "numpy", "scipy", "architecture"}
    assert all(library_versions().values())
