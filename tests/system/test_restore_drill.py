"""The restore drill: a running system is backed up and killed for good; restored elsewhere, it goes on."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.models.artifact import ArtifactRef
from penstock.models.registry import MlflowRegistry, Registration
from penstock.spec import load_pipeline
from tests.system.folding import check_folds
from tests.system.log_reader import LogReader, missing_and_double
from tests.system.processes import kill_session, penstock, start, wait_for

pytestmark = pytest.mark.system
CREDIT = load_pipeline(Path(__file__).parents[2] / "pipelines" / "credit.py")
CREDIT_FILE = str(Path(__file__).parents[2] / "pipelines" / "credit.py")
EVENTS = 2000


@pytest.fixture(scope="module")
def drill(tmp_path_factory):
    """A demo that was backed up twice while it ran, and then killed: (its folder, an early backup, a later one)."""
    folder = tmp_path_factory.mktemp("drill")
    arguments = ("--headless", "--events", str(EVENTS), "--data-dir", "data")
    process = start("demo", *arguments, cwd=folder, output=folder / "out.txt")
    log = LogReader(folder / "data" / "log.db", "credit")
    try:
        backups = []
        for examples in (300, 800):
            wait_for(lambda examples=examples: log.count("examples") >= examples, f"{examples} examples", 90, process)
            made = penstock("backup", f"backups/{examples}.tar.gz", "--data-dir", "data", "--json", cwd=folder)
            assert made.returncode == 0, made.stderr
            assert process.poll() is None, "the demo ended before it was backed up"
            answer = json.loads(made.stdout)
            assert (answer["pipelines"], answer["log"], answer["key"]) == (["credit"], "embedded", False)
            backups.append(folder / answer["file"])
    finally:
        kill_session(process)
    return folder, *backups


def restored(drill, tmp_path, source):
    """A restored installation; the key came another way."""
    data = tmp_path / "elsewhere"
    data.mkdir()
    shutil.copy(drill[0] / "data" / "signing.key", data)
    finished = penstock("restore", str(source), "--data-dir", str(data), cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert [path.name for path in data.glob(".restoring-*")] == []
    return data


def test_a_restored_demo_goes_on_and_all_folds_are_bit_identical(drill, tmp_path):
    data = restored(drill, tmp_path, drill[2])
    log = LogReader(data / "log.db", "credit")
    assert 0 < log.count("examples") < EVENTS
    report = tmp_path / "report.json"
    finished = penstock(
        "demo", "--headless", "--resume", "--data-dir", str(data), "--report", str(report), cwd=tmp_path, timeout_s=240
    )
    assert finished.returncode == 0, finished.stderr
    assert json.loads(report.read_text())["labelled"] == EVENTS
    requests = [request["id"] for request in log.values("requests")]
    assert len(requests) == EVENTS
    assert missing_and_double(requests, [each["id"] for each in log.values("predictions")]) == (set(), set())
    assert missing_and_double(requests, [each["id"] for each in log.values("examples")]) == (set(), set())
    check_folds(CREDIT, data)


def test_restored_models_verify_and_are_what_the_log_says(drill, tmp_path):
    data = restored(drill, tmp_path, drill[2])
    rebuilt = penstock(
        "models", "rebuild", "online", "--json", "--data-dir", str(data), "--pipeline", CREDIT_FILE, cwd=tmp_path
    )
    assert rebuilt.returncode == 0, rebuilt.stderr + rebuilt.stdout
    assert json.loads(rebuilt.stdout)["models"][0]["difference"] == 0.0


def test_the_checkpoints_of_a_backup_are_not_ahead_of_its_log(drill, tmp_path):
    """Of each stage that has any, one is usable, so that a restore does not depend on what retention left."""
    data = restored(drill, tmp_path, drill[2])
    connection = sqlite3.connect(data / "log.db")
    query = "SELECT grp, max(offset) FROM committed GROUP BY grp"
    committed = {group.rsplit(".", 1)[1]: offset for group, offset in connection.execute(query)}
    connection.close()
    for stage in ("learner", "monitor"):
        found = []
        for path in (data / "credit" / "checkpoints" / stage).rglob("*.checkpoint"):
            header = path.read_bytes()[34:].partition(b"}\x80")[0]
            found.append(int(header.partition(b'"offsets":{')[2].partition(b":")[2].partition(b"}")[0]))
        # A system that was quick to get here has not written its first checkpoint yet.
        assert not found or min(found) <= committed[stage], stage


def test_a_system_that_runs_is_not_restored_over(drill, tmp_path):
    data = restored(drill, tmp_path, drill[1])
    process = start(
        "run", "learner", "--data-dir", str(data), "--pipeline", CREDIT_FILE, cwd=tmp_path, output=tmp_path / "out.txt"
    )
    try:
        wait_for(lambda: "started" in (tmp_path / "out.txt").read_text(), "the learner", 60, process)
        wait_for(lambda: members(data) > 0, "a member", 60, process)
        refused = penstock("restore", str(drill[2]), "--force", "--data-dir", str(data), cwd=tmp_path)
        assert (refused.returncode, refused.stderr.count("\n")) == (3, 1), refused.stderr
        assert "learner" in refused.stderr
    finally:
        kill_session(process)


def members(data):
    connection = sqlite3.connect(data / "log.db", timeout=30)
    try:
        return connection.execute("SELECT count(*) FROM members WHERE name LIKE '%learner%'").fetchone()[0]
    finally:
        connection.close()


def registration(number):
    artifact = ArtifactRef(f"ab/{number}", "d" * 64, "s" * 64, 3)
    return Registration(f"run-{number}", f"v{number}", artifact, {"a": "1"}, {"m": 0.5}, {"trigger": "drift"})


def test_the_registry_moves_with_the_installation(tmp_path):
    pytest.importorskip("mlflow")
    before, after = tmp_path / "before", tmp_path / "after"
    registry_in(before).register(registration(1))
    for arguments in (
        ("backup", "b.tar.gz", "--with-key", "--log", f"embedded://{log_in(tmp_path)}", "--data-dir", "before"),
        ("restore", "b.tar.gz", "--log", f"embedded://{tmp_path / 'log2.db'}", "--data-dir", "after"),
    ):
        finished = penstock(*arguments, cwd=tmp_path)
        assert finished.returncode == 0, finished.stderr
    shutil.rmtree(before)
    registry = registry_in(after)
    assert [version.version for version in registry.versions()] == ["v1"]
    registry.set_alias("champion", "v1")
    registry.register(registration(2))
    assert [version.aliases for version in registry.versions()] == [("champion",), ()]
    assert len(list((after / "mlflow-artifacts").rglob("lineage.json"))) == 2
    assert not before.exists()


def registry_in(folder):
    return MlflowRegistry(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "mlflow-artifacts"), "credit")


def log_in(folder):
    log = EmbeddedLog(folder / "log1.db", "credit", SystemClock())
    log.close()
    return folder / "log1.db"
