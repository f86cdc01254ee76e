"""Backup and restore of an installation, in one process."""

from __future__ import annotations

import json
import sqlite3
import tarfile

import pytest

from penstock.cli import backup_sources
from penstock.cli.backup_sources import blobs_in, moment_of
from penstock.cli.main import main
from penstock.clock import SystemClock
from penstock.events import ModelRecord, encode
from penstock.log.embedded import EmbeddedLog
from penstock.log.open import topic_configs
from penstock.log.port import Message
from penstock.models.artifact import DirectoryArtifacts, Signer, signing_key
from penstock.models.blobs import LocalBlobs
from penstock.runtime.checkpoint import Checkpoint, DirectoryCheckpoints, StateIdentity


def command(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stopped.value.code, captured.out, captured.err


class Installation:
    def __init__(self, data):
        self.data = data
        self.signer = Signer(signing_key(data, None))
        self.artifacts = DirectoryArtifacts(data / "toy" / "artifacts", self.signer)
        self.checkpoints = DirectoryCheckpoints(data / "toy" / "checkpoints", self.signer)
        with self.log() as log:
            log.ensure_topics(topic_configs(1))
        self.publish(b"model 1", 1)
        self.checkpoint(1)
        with sqlite3.connect(data / "mlflow.db") as registry:
            registry.execute("CREATE TABLE runs (artifact_uri TEXT)")
            registry.execute("INSERT INTO runs VALUES (?)", (f"{data}/mlflow-artifacts/1",))
        registry.close()
        (data / "mlflow-artifacts" / "1").mkdir(parents=True)
        (data / "mlflow-artifacts" / "1" / "lineage.json").write_text("{}")

    def log(self):
        log = EmbeddedLog(self.data / "log.db", "toy", SystemClock())
        return Closing(log)

    def publish(self, model, offset):
        ref = self.artifacts.put(model)
        fields = {"slot": "online-0", "version": "online", "kind": "online", "generation": 0, "offset": offset}
        record = ModelRecord(
            **fields, uri=ref.uri, digest=ref.digest, signature=ref.signature, size_bytes=ref.size_bytes
        )
        with self.log() as log:
            log.append([Message("models", b"online-0", encode(record), 0)])
        return ref

    def checkpoint(self, offset):
        self.checkpoints.write(Checkpoint("learner", 0, StateIdentity("d", {}), {"examples": offset}, b"state"))


class Closing:
    def __init__(self, log):
        self.inner = log

    def __enter__(self):
        return self.inner

    def __exit__(self, *_):
        self.inner.close()


@pytest.fixture
def installed(tmp_path):
    (tmp_path / "data").mkdir()
    return Installation(tmp_path / "data")


def contents(data):
    """Files of an installation that both sides must have alike (a database may differ in its pages)."""
    return {
        path.relative_to(data).as_posix(): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and path.name not in ("log.db.lock", "mlflow.db") and not path.name.startswith("log.db")
    }


def test_what_was_backed_up_is_restored(installed, tmp_path, capsys):
    code, out, _ = command(
        capsys, "--data-dir", installed.data, "backup", tmp_path / "b.tar.gz", "--with-key", "--json"
    )
    assert code == 0
    assert json.loads(out)["registry"] is True
    other = tmp_path / "other"
    assert command(capsys, "--data-dir", other, "restore", tmp_path / "b.tar.gz")[0] == 0
    assert contents(other) == contents(installed.data)
    assert (other / "signing.key").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(other / "mlflow.db") as registry:
        assert registry.execute("SELECT artifact_uri FROM runs").fetchall() == [(f"{other}/mlflow-artifacts/1",)]
    registry.close()
    log = EmbeddedLog(other / "log.db", "toy", SystemClock())
    assert len(log.tail(["models"], from_start=True).poll(10, 0.0)) == 1
    log.close()


def test_a_folder_gets_a_file_named_by_the_time_and_no_file_is_replaced(installed, tmp_path, capsys):
    (tmp_path / "backups").mkdir()
    assert command(capsys, "--data-dir", installed.data, "backup", tmp_path / "backups")[0] == 0
    (made,) = (tmp_path / "backups").iterdir()
    assert made.stat().st_mode & 0o777 == 0o600
    code, _, error = command(capsys, "--data-dir", installed.data, "backup", made)
    assert (code, error.count("\n")) == (2, 1)


def test_the_key_stays_out_and_is_asked_for(installed, tmp_path, capsys):
    file, other = tmp_path / "b.tar.gz", tmp_path / "other"
    _, out, _ = command(capsys, "--data-dir", installed.data, "backup", file)
    assert "signing key" in out
    with tarfile.open(file) as tar:
        assert "signing.key" not in tar.getnames()
    code, _, error = command(capsys, "--data-dir", other, "restore", file)
    assert (code, error.count("\n")) == (3, 1)
    assert "signing.key" in error
    other.joinpath("signing.key").write_text("another key, long enough")
    code, _, error = command(capsys, "--data-dir", other, "restore", file)
    assert code == 3
    assert "another key" in error
    assert sorted(path.name for path in other.iterdir()) == ["signing.key"]
    other.joinpath("signing.key").write_bytes((installed.data / "signing.key").read_bytes())
    assert command(capsys, "--data-dir", other, "restore", file)[0] == 0


def test_a_configured_key_is_neither_saved_nor_needed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", "k" * 20)
    (tmp_path / "data").mkdir()
    installed = Installation.__new__(Installation)
    installed.data, installed.signer = tmp_path / "data", Signer(b"k" * 20)
    installed.artifacts = DirectoryArtifacts(installed.data / "toy" / "artifacts", installed.signer)
    with installed.log() as log:
        log.ensure_topics(topic_configs(1))
    installed.publish(b"model", 1)
    file = tmp_path / "b.tar.gz"
    assert command(capsys, "--data-dir", installed.data, "backup", file, "--with-key")[0] == 2
    assert command(capsys, "--data-dir", installed.data, "backup", file)[0] == 0
    assert command(capsys, "--data-dir", tmp_path / "other", "restore", file)[0] == 0
    assert not (tmp_path / "other" / "signing.key").exists()


def test_an_installation_is_replaced_only_by_force_and_nothing_of_it_stays(installed, tmp_path, capsys):
    file = tmp_path / "b.tar.gz"
    command(capsys, "--data-dir", installed.data, "backup", file)
    before = contents(installed.data)
    installed.publish(b"model 2", 2)
    installed.checkpoint(2)
    (installed.data / "thesis.txt").write_text("mine")
    code, _, error = command(capsys, "--data-dir", installed.data, "restore", file)
    assert (code, error.count("\n")) == (2, 1)
    assert "--force" in error
    assert command(capsys, "--data-dir", installed.data, "restore", file, "--force")[0] == 0
    assert contents(installed.data) == before | {"thesis.txt": b"mine"}
    with installed.log() as log:
        assert len(log.tail(["models"], from_start=True).poll(10, 0.0)) == 1


def test_a_damaged_backup_changes_nothing(installed, tmp_path, capsys):
    file = tmp_path / "b.tar.gz"
    command(capsys, "--data-dir", installed.data, "backup", file)
    file.write_bytes(file.read_bytes()[:-200])
    before = contents(installed.data)
    code, _, error = command(capsys, "--data-dir", installed.data, "restore", file, "--force")
    assert (code, error.count("\n")) == (2, 1)
    assert contents(installed.data) == before


def test_a_log_elsewhere_is_restored_there(installed, tmp_path, capsys):
    elsewhere = tmp_path / "disk" / "events.db"
    elsewhere.parent.mkdir()
    for end in ("", "-wal"):
        if (installed.data / f"log.db{end}").exists():
            (installed.data / f"log.db{end}").rename(elsewhere.with_name(f"events.db{end}"))
    url = f"embedded://{elsewhere}"
    file = tmp_path / "b.tar.gz"
    assert command(capsys, "--data-dir", installed.data, "--log", url, "backup", file, "--with-key")[0] == 0
    code, _, error = command(capsys, "--data-dir", tmp_path / "o", "--log", "kafka://nowhere:9", "restore", file)
    assert code == 2, error
    assert command(capsys, "--data-dir", tmp_path / "o", "--log", url, "restore", file)[0] == 2
    target = tmp_path / "disk2" / "events.db"
    assert command(capsys, "--data-dir", tmp_path / "o", "--log", f"embedded://{target}", "restore", file)[0] == 0
    assert target.is_file()


def test_with_kafka_the_log_is_kafkas(installed, tmp_path, capsys):
    file = tmp_path / "b.tar.gz"
    kafka = ("--log", "kafka://nowhere.invalid:9")
    code, out, error = command(capsys, "--data-dir", installed.data, *kafka, "backup", file, "--with-key")
    assert code == 0, error
    assert "Kafka" in out
    with tarfile.open(file) as tar:
        assert "log.db" not in tar.getnames()
    assert command(capsys, "--data-dir", tmp_path / "o", "restore", file)[0] == 2
    assert command(capsys, "--data-dir", tmp_path / "o", *kafka, "restore", file)[0] == 0
    assert (tmp_path / "o" / "toy" / "checkpoints").is_dir()


def test_a_shared_store_is_saved_and_written_back(installed, tmp_path, capsys, monkeypatch):
    (installed.data / "toy").rename(tmp_path / "shared-toy")
    (tmp_path / "store").mkdir()
    (tmp_path / "shared-toy").rename(tmp_path / "store" / "toy")
    (tmp_path / "toy.py").write_text(
        "from penstock.spec import Numeric, Pipeline\n"
        "P = Pipeline(name='toy', task='regression', target='y', features=(Numeric('x'),))\n"
    )
    monkeypatch.setenv("PENSTOCK_STORE_URL", (tmp_path / "store").as_uri())
    file = tmp_path / "b.tar.gz"
    given = ("--data-dir", installed.data, "--pipeline", tmp_path / "toy.py")
    assert command(capsys, *given, "backup", file, "--with-key")[0] == 0
    before = contents(tmp_path / "store")
    (stale,) = (tmp_path / "store" / "toy" / "checkpoints" / "learner" / "0").iterdir()
    stale.rename(stale.with_name("000000000009-ff.checkpoint"))
    assert command(capsys, *given, "restore", file, "--force")[0] == 0
    assert contents(tmp_path / "store") == before


def test_a_model_that_is_not_whole_is_said_and_leaves_no_file(installed, tmp_path, capsys):
    ref = installed.publish(b"model 2", 2)
    (installed.data / "toy" / "artifacts" / ref.uri).unlink()
    code, _, error = command(capsys, "--data-dir", installed.data, "backup", tmp_path / "b.tar.gz")
    assert (code, error.count("\n")) == (3, 1)
    assert "online-0" in error
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_log_that_is_none_is_bad_usage(installed, tmp_path, capsys):
    for url in ("carrier-pigeon://loft", "embedded://"):
        code, _, error = command(capsys, "--data-dir", installed.data, "--log", url, "backup", tmp_path / "b.tar.gz")
        assert (code, error.count("\n")) == (2, 1)


def test_an_empty_folder_is_nothing_to_back_up(tmp_path, capsys):
    assert command(capsys, "--data-dir", tmp_path / "none", "backup", tmp_path / "b.tar.gz")[0] == 2


def test_models_that_are_published_and_discarded_meanwhile_are_in_it(installed, tmp_path, capsys, monkeypatch):
    """Between the moment and the end of the log's copy, the learner publishes more snapshots than it keeps."""
    copy, first = backup_sources.copy_database, installed.artifacts.put(b"model 1").uri
    log_moment = []

    def busy(moment, target):
        if target.name == "log.db":
            for number in range(2, 12):
                installed.publish(f"model {number}".encode(), number)
            installed.artifacts.discard(first)
            for number in range(2, 8):
                installed.checkpoint(number)
            log_moment.append(target)
        copy(moment, target)

    monkeypatch.setattr("penstock.cli.backup.copy_database", busy)
    assert command(capsys, "--data-dir", installed.data, "backup", tmp_path / "b.tar.gz", "--with-key")[0] == 0
    assert log_moment
    other = tmp_path / "other"
    assert command(capsys, "--data-dir", other, "restore", tmp_path / "b.tar.gz")[0] == 0
    log = EmbeddedLog(other / "log.db", "toy", SystemClock())
    (record,) = log.tail(["models"], from_start=True).poll(10, 0.0)
    log.close()
    assert first.encode() in record.value
    assert (other / "toy" / "artifacts" / first).read_bytes() == b"model 1"
    store = DirectoryCheckpoints(other / "toy" / "checkpoints", installed.signer)
    assert [stored.checkpoint.offsets for stored in store.candidates("learner", 0)] == [{"examples": 1}]


def test_blobs_that_vanish_while_they_are_listed_are_looked_for_again(tmp_path):
    class Vanishing(LocalBlobs):
        def read(self, name):
            if name.endswith("2"):
                self.delete(name)
                self.write("learner/0/5", b"5")
            return super().read(name)

    blobs = Vanishing(tmp_path)
    for name in ("1", "2", "3"):
        blobs.write(f"learner/0/{name}", name.encode())
    blobs.write("learner/0/.writing-x", b"")
    assert dict(blobs_in(blobs, "checkpoints")) == {
        "learner/0/3": b"3",
        "learner/0/1": b"1",
        "learner/0/5": b"5",
    }


def test_a_moment_does_not_see_what_comes_later(installed):
    with moment_of(installed.data / "log.db") as moment:
        installed.publish(b"model 2", 2)
        assert moment.execute("SELECT count(*) FROM records").fetchone() == (1,)


@pytest.mark.parametrize("log", ["embedded", "kafka://localhost:1"])
def test_a_backup_of_nothing_is_refused_and_leaves_no_file(log, capsys, tmp_path):
    """A folder that some command has made, with a key and a name and nothing worth keeping."""
    data = tmp_path / "data"
    data.mkdir()
    signing_key(data, None)
    (data / "installation.id").write_text("a1b2c3d4")
    code, _, err = command(capsys, "backup", tmp_path / "b.tar.gz", "--data-dir", data, "--log", log)
    assert code == 2, err
    assert err.count("\n") == 1
    assert "nothing to back up" in err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
