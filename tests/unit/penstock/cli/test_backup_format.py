"""A backup is taken whole or not at all, and writes nothing outside the folder that it is unpacked into."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.backup_format import FORMAT, MANIFEST, Manifest, Packer, check_name, unpack
from penstock.errors import UsageError

FILES = {
    "log.db": b"L" * 70_000,
    "pipelines/credit/checkpoints/learner/0/1-ab.checkpoint": b"state",
    "pipelines/credit/artifacts/ab/abcd": b"",
    "mlflow-artifacts/9f/artifacts/lineage.json": b"{}",
}


def manifest(files, **changes):
    fields = {
        "format": FORMAT,
        "version": "0",
        "created": "now",
        "pipelines": ["credit"],
        "log": "embedded",
        "registry": False,
        "data_dir": "d",
        "key_mark": "m",
        "files": files,
    }
    return Manifest(**(fields | changes))


def pack(path, files=FILES, **changes):
    with tarfile.open(path, "w:gz") as tar:
        packer = Packer(tar, 0)
        for name, data in files.items():
            packer.add_bytes(name, data)
        packer.finish(manifest(packer.files, **changes))
    return path


def pack_by_hand(path, members):
    """Whatever ``members`` (TarInfo, bytes) say, and a manifest of nothing."""
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        Packer(tar, 0).finish(manifest({}))
    return path


def test_what_was_packed_is_unpacked(tmp_path):
    (tmp_path / "x").mkdir()
    found = unpack(pack(tmp_path / "b.tar.gz"), tmp_path / "x")
    assert set(found.files) == set(FILES)
    for name, data in FILES.items():
        assert (tmp_path / "x" / name).read_bytes() == data


def test_a_name_is_packed_once(tmp_path):
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        packer = Packer(tar, 0)
        packer.add_bytes("log.db", b"first")
        packer.add_bytes("log.db", b"second")
        packer.finish(manifest(packer.files))
    (tmp_path / "x").mkdir()
    unpack(tmp_path / "b.tar.gz", tmp_path / "x")
    assert (tmp_path / "x" / "log.db").read_bytes() == b"first"


def assert_noticed_or_whole(file, folder):
    """Bytes after the manifest (the tar's padding) do not matter."""
    folder.mkdir()
    try:
        unpack(file, folder)
    except UsageError:
        return
    for name, content in FILES.items():
        assert (folder / name).read_bytes() == content


def test_any_cut_is_noticed(tmp_path):
    whole = pack(tmp_path / "b.tar.gz").read_bytes()
    cut = tmp_path / "cut.tar.gz"
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        cut.write_bytes(whole[:length])
        assert_noticed_or_whole(cut, tmp_path / str(length))
    cut.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "half").mkdir()
    with pytest.raises(UsageError, match="damaged"):
        unpack(cut, tmp_path / "half")


@given(st.data())
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    whole = bytearray(pack(folder / "b.tar.gz").read_bytes())
    at = data.draw(st.integers(10, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "b.tar.gz").write_bytes(bytes(whole))
    assert_noticed_or_whole(folder / "b.tar.gz", folder / "x")


@pytest.mark.parametrize(
    "name",
    [
        "../log.db",
        "/etc/passwd",
        "pipelines/../../x/checkpoints/a",
        "pipelines/credit/checkpoints/..",
        "pipelines/credit/checkpoints/a//b",
        "pipelines/credit/checkpoints/a\\b",
        "pipelines/credit/models/x",
        "pipelines/credit/checkpoints",
        "mlflow-artifacts",
        "mlflow-artifacts/./x",
        "bin/sh",
        "",
    ],
)
def test_names_that_climb_or_are_unknown_are_refused(tmp_path, name):
    with pytest.raises(UsageError):
        check_name(name)
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError):
        unpack(pack_by_hand(tmp_path / "b.tar.gz", [(tarfile.TarInfo(name), b"evil")]), tmp_path / "x")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "b.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_only_files_are_unpacked(tmp_path, kind):
    info = tarfile.TarInfo("log.db")
    info.type, info.linkname = kind, "/etc/passwd"
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError, match=r"log\.db"):
        unpack(pack_by_hand(tmp_path / "b.tar.gz", [(info, b"")]), tmp_path / "x")


def test_files_that_the_manifest_does_not_know_and_doubles_are_refused(tmp_path):
    for number, members in enumerate([["log.db"], ["log.db", "log.db"]]):
        (tmp_path / str(number)).mkdir()
        file = pack_by_hand(tmp_path / "b.tar.gz", [(tarfile.TarInfo(name), b"x") for name in members])
        with pytest.raises(UsageError):
            unpack(file, tmp_path / str(number))


def test_another_format_and_other_files_say_so(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError, match="format 99"):
        unpack(pack(tmp_path / "b.tar.gz", {}, format=99), tmp_path / "x")
    (tmp_path / "text").write_text("no tar")
    with pytest.raises(UsageError, match="no backup"):
        unpack(tmp_path / "text", tmp_path / "x")
    with pytest.raises(UsageError, match="no such file"):
        unpack(tmp_path / "nowhere", tmp_path / "x")
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo(MANIFEST)
        info.size = 2
        tar.addfile(info, io.BytesIO(b"[]"))
    with pytest.raises(UsageError, match="does not decode"):
        unpack(tmp_path / "m.tar.gz", tmp_path / "x")
