"""The whole system as a user starts it: real processes, real kills, the log read back by a checker of its own."""

import json
import os
import signal
from pathlib import Path

import pytest

from penstock.spec import load_pipeline
from tests.system.folding import check_folds
from tests.system.log_reader import LogReader, missing_and_double
from tests.system.processes import children, kill_session, penstock, start, wait_for

pytestmark = pytest.mark.system
CREDIT = load_pipeline(Path(__file__).parents[2] / "pipelines" / "credit.py")


def check_exactly_once(log: LogReader, events: int) -> None:
    """One prediction per request, one example per labelled prediction; nothing missing, nothing double."""
    requests = [request["id"] for request in log.values("requests")]
    assert len(requests) == len(set(requests)) == events
    predictions = [prediction["id"] for prediction in log.values("predictions")]
    assert missing_and_double(requests, predictions) == (set(), set())
    labels = [label["id"] for label in log.values("labels")]
    examples = [example["id"] for example in log.values("examples") if not example.get("revision")]
    assert missing_and_double(labels, examples) == (set(), set())
    decisions = [decision["seq"] for decision in log.values("decisions")]
    assert decisions == list(range(len(decisions)))


def test_a_demo_killed_in_part_and_as_a_whole_goes_on_as_if_nothing_had_happened(tmp_path):
    data, report = tmp_path / "data", tmp_path / "report.json"
    events = 3000
    arguments = ("--headless", "--report", str(report), "--data-dir", str(data))
    log = LogReader(data / "log.db", "credit")
    process = start("demo", "--events", str(events), *arguments, cwd=tmp_path, output=tmp_path / "out.txt")
    try:
        wait_for(lambda: log.count("examples") > 400, "400 examples", 90, process)
        (learner,) = [pid for pid, command in children(process.pid).items() if "learner" in command]
        os.kill(learner, signal.SIGKILL)
        wait_for(lambda: log.count("examples") > 1100, "1,100 examples", 90, process)
    finally:
        kill_session(process)
    assert log.count("requests") < events
    finished = penstock("demo", "--resume", *arguments, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    result = json.loads(report.read_text())
    assert (result["events"], result["labelled"], result["dead_letters"]) == (events, events, 0)
    check_exactly_once(log, events)
    assert log.count("drift") > 0
    check_folds(CREDIT, data)


def test_a_demo_never_removes_what_is_not_a_demos(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    finished = penstock("demo", "--headless", "--events", "10", "--data-dir", "data", cwd=tmp_path)
    assert finished.returncode == 2
    assert "thesis" not in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert (tmp_path / "data" / "thesis.txt").read_text() == "mine"
