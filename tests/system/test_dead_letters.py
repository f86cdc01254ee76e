"""Dead letters over the command line, with real kills: after the fix, each record goes back once."""

import json
import shutil
import signal
import subprocess
from collections import Counter

import pytest

from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.log.open import topic_configs
from penstock.log.port import Message
from tests.system.log_reader import LogReader
from tests.system.processes import PENSTOCK, kill_session, penstock, start, wait_for

pytestmark = pytest.mark.system

SPEC = """
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="toy", task="regression", target="y", partitions=2, features=({features}))
"""
#: More than one batch of a replay.
BROKEN, WHOLE = 230, 20


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose requests lack a feature that the spec asks for, so that most of them died."""
    tmp_path = tmp_path_factory.mktemp("project")
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "toy.py").write_text(SPEC.format(features='Numeric("x"), Numeric("z")'))
    log = EmbeddedLog(tmp_path / ".penstock" / "log.db", "toy", SystemClock())
    log.ensure_topics(topic_configs(2))
    log.append([message(number, {"x": 1.0}) for number in range(BROKEN)])
    log.append([message(number, {"x": 1.0, "z": 2.0}) for number in range(BROKEN, BROKEN + WHOLE)])
    log.append([Message("requests", b"\xff", b"\xff\x00", 1)])
    log.close()
    run_scorer(tmp_path, lambda reader: reader.count("dead-letters") == BROKEN + 1)
    return tmp_path


def message(number, features):
    value = json.dumps({"id": f"r{number}", "features": features}).encode()
    return Message("requests", f"r{number}".encode(), value, number % 2, (("trace", str(number).encode()),))


def reader_of(folder):
    return LogReader(folder / ".penstock" / "log.db", "toy")


def run_scorer(folder, done):
    process = start("run", "scorer", cwd=folder, output=folder / "scorer.txt")
    try:
        wait_for(lambda: done(reader_of(folder)), "the scorer", 60, process)
    finally:
        kill_session(process)


def requests(folder):
    reader = reader_of(folder)
    return Counter((partition, value) for partition in range(2) for value in reader.raw("requests", partition))


def test_list_and_show(project):
    listed = penstock("dead-letters", "list", "--limit", "3", "--json", cwd=project)
    assert listed.returncode == 0, listed.stderr
    entries = json.loads(listed.stdout)
    assert [entry["offset"] for entry in entries] == [BROKEN - 2, BROKEN - 1, BROKEN]
    assert {entry["state"] for entry in entries} == {"waiting"}
    every = json.loads(penstock("dead-letters", "list", "--limit", "999", "--json", cwd=project).stdout)
    (foreign,) = [entry for entry in every if "JSON" in entry["error"]]
    assert foreign["stage"] == "scorer"
    assert foreign["source"].startswith("requests/1:")
    shown = json.loads(penstock("dead-letters", "show", str(foreign["offset"]), "--json", cwd=project).stdout)
    assert (shown["value"], shown["encoding"], shown["key"]) == ("ff00", "hex", "ff")
    assert dict(shown["headers"])["__streams.errors.topic"] == "requests"
    assert "value (hex, 2 bytes)" in penstock("dead-letters", "show", str(foreign["offset"]), cwd=project).stdout
    assert "features.z: absent" in penstock("dead-letters", "list", cwd=project).stdout
    empty = penstock("dead-letters", "list", "--topic", "labels", "--stage", "joiner", "--json", cwd=project)
    assert json.loads(empty.stdout) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "100000"),
        ("replay",),
        ("replay", "1", "--all"),
        ("replay", "100000"),
        ("replay", "0", "--stage", "joiner"),
        ("replay", "--all", "--stage", "plumber"),
        ("list", "--topic", "gossip"),
    ],
    ids=" ".join,
)
def test_bad_usage_is_one_line(project, arguments):
    before = requests(project)
    finished = penstock("dead-letters", *arguments, cwd=project)
    assert (finished.returncode, finished.stderr.count("\n")) == (2, 1), finished.stderr
    assert requests(project) == before


def test_killed_anywhere_and_repeated_each_goes_back_once_and_is_scored_once(project, tmp_path):
    project = shutil.copytree(project, tmp_path / "copy")
    before = requests(project)
    whole = {(r % 2, message(r, {"x": 1.0, "z": 2.0}).value) for r in range(BROKEN, BROKEN + WHOLE)}
    (project / "pipelines" / "toy.py").write_text(SPEC.format(features='Numeric("x"),'))  # the fix
    killed = 0
    for point in ("mid_batch:1", "after_commit:1", "mid_batch:1", "mid_batch:2"):
        finished = penstock("dead-letters", "replay", "--all", cwd=project, PENSTOCK_KILL_AT=f"dead-letters:{point}")
        killed += finished.returncode == -signal.SIGKILL
        assert all(count <= 2 for count in requests(project).values())
    assert killed == 3
    assert penstock("dead-letters", "replay", "0", "1", "--json", cwd=project).returncode == 0
    last = json.loads(penstock("dead-letters", "replay", "--all", "--stage", "scorer", "--json", cwd=project).stdout)
    assert last == {"replayed": 0, "before": BROKEN + 1, "homeless": []}
    assert requests(project) == Counter({key: 1 if key in whole else 2 for key in before})
    run_scorer(project, lambda reader: sum(len(reader.raw("predictions", p)) for p in range(2)) >= BROKEN + WHOLE)
    reader = reader_of(project)
    scored = [json.loads(value)["id"] for partition in range(2) for value in reader.raw("predictions", partition)]
    assert sorted(scored) == sorted(f"r{number}" for number in range(BROKEN + WHOLE))
    dead = json.loads(penstock("dead-letters", "list", "--json", "--limit", "1", cwd=project).stdout)
    assert dead[0]["state"] == "waiting"  # still no JSON: dead again, and may go back again


def test_raw_writes_the_bytes(project):
    number = next(n for n, value in enumerate(reader_of(project).raw("dead-letters")) if value == b"\xff\x00")
    command = [*PENSTOCK, "dead-letters", "show", str(number), "--raw"]
    assert subprocess.run(command, cwd=project, capture_output=True, timeout=60, check=True).stdout == b"\xff\x00"
