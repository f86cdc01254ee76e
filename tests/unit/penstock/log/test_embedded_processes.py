"""Several processes on one file, and SIGKILL at any moment."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.log.port import Record, TopicConfig, TopicPartition
from penstock.testing.log_subject import Listener

pytestmark = pytest.mark.system

IN, OUT = TopicPartition("in", 0), TopicPartition("out", 0)

PRELUDE = """
import sys
from pathlib import Path
from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.log.port import Message, TopicPartition
log = EmbeddedLog(Path(sys.argv[1]), "pipe", SystemClock(), session_timeout_s=float(sys.argv[3]))
name = sys.argv[2]
"""

#: Appends batches of three for ever; a line on stdout for each that was acknowledged.
WRITER = (
    PRELUDE
    + """
n = 0
while True:
    log.append([Message("in", None, f"{name}/{n}/{part}".encode()) for part in range(3)])
    print(f"{name}/{n}", flush=True)
    n += 1
"""
)

#: Copies `in` to `out` for ever, in small transactions.
COPIER = (
    PRELUDE
    + """
seat = log.join("copy", ["in"], name, lambda p: print("assigned", flush=True), lambda p: None)
while True:
    records = seat.poll(50, 1.0)
    if records:
        outputs = [Message("out", r.key, r.value, 0) for r in records]
        seat.commit(outputs, {TopicPartition("in", 0): records[-1].offset + 1})
        print(records[-1].offset, flush=True)
"""
)


@contextmanager
def running(script: str, path: Path, name: str, session_s: float = 10.0) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path), name, str(session_s)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    text = process.stdout.readline()
    assert text, "the process ended"
    return text.strip()


def lines_until_killed(process: subprocess.Popen[str], seconds: float) -> list[str]:
    """SIGKILL after ``seconds``; every whole line that was written before."""
    assert process.stdout is not None
    time.sleep(seconds)
    process.kill()
    text = process.stdout.read()
    return [part for part in text.split("\n")[:-1] if part]


def new_log(path: Path) -> EmbeddedLog:
    log = EmbeddedLog(path, "pipe", SystemClock())
    log.ensure_topics([TopicConfig("in", 1), TopicConfig("out", 1)])
    return log


def everything(log: EmbeddedLog, partition: TopicPartition) -> list[Record]:
    return log.read(partition, 0, log.bounds(partition).end, 10_000_000)


def assert_intact(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def assert_whole_batches(records: list[Record]) -> set[str]:
    """The batches that are there, each of three parts, in one piece."""
    batches = []
    for at in range(0, len(records), 3):
        batch, _ = records[at].value.decode().rsplit("/", 1)
        assert [r.value.decode() for r in records[at : at + 3]] == [f"{batch}/{part}" for part in range(3)]
        batches.append(batch)
    assert len(set(batches)) == len(batches)
    return set(batches)


def test_two_processes_write_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(new_log(path)) as log:
        with running(WRITER, path, "a") as a, running(WRITER, path, "b") as b:
            acknowledged = {line(process) for process in (a, b)}
            acknowledged |= set(lines_until_killed(a, 0.5)) | set(lines_until_killed(b, 0.0))
        written = assert_whole_batches(everything(log, IN))
        assert acknowledged <= written
        counts = [len([batch for batch in written if batch.startswith(f"{name}/")]) for name in "ab"]
        assert min(counts) > max(counts) / 20, f"the lock is not fair: {counts}"
    assert_intact(path)


def test_a_writer_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    seeded = random.Random(7)
    acknowledged: set[str] = set()
    with closing(new_log(path)) as log:
        for kill in range(10):
            with running(WRITER, path, f"w{kill}") as writer:
                acknowledged.add(line(writer))
                acknowledged |= set(lines_until_killed(writer, seeded.uniform(0.0, 0.08)))
            log.append([])  # the survivor is not blocked by what the dead one held
        written = assert_whole_batches(everything(log, IN))
        assert acknowledged <= written
        assert len(written - acknowledged) <= 10, "at most the one batch in flight per kill is there unacknowledged"
        records = everything(log, IN)
        assert [record.offset for record in records] == list(range(len(records)))
    assert_intact(path)


def test_a_stage_killed_again_and_again_copies_each_record_once(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    seeded = random.Random(11)
    with closing(new_log(path)) as log, running(WRITER, path, "w") as writer:
        line(writer)
        for _ in range(10):
            with running(COPIER, path, "copier") as copier:
                assert line(copier) == "assigned"
                line(copier)
                lines_until_killed(copier, seeded.uniform(0.0, 0.08))
        writer.kill()
        with running(COPIER, path, "copier") as copier:
            last = log.bounds(IN).end - 1
            assert line(copier) == "assigned"
            deadline = time.monotonic() + 60
            while log.committed("copy", IN) != last + 1 and time.monotonic() < deadline:
                time.sleep(0.01)
        inputs, outputs = everything(log, IN), everything(log, OUT)
        assert [record.value for record in outputs] == [record.value for record in inputs]
    assert_intact(path)


def test_a_killed_owner_is_replaced_after_its_session(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(new_log(path)):
        pass
    log = EmbeddedLog(path, "pipe", SystemClock(), session_timeout_s=0.5)
    with closing(log), running(COPIER, path, "a", 0.5) as owner:
        assert line(owner) == "assigned"
        heir = Listener(log, "copy", ["in"], "b")
        assert heir.membership.poll(1, 1.0) == []
        assert heir.owned == []
        owner.kill()
        start = time.monotonic()
        while not heir.owned and time.monotonic() - start < 20:
            heir.membership.poll(1, 0.05)
        assert heir.owned == [0]
        assert time.monotonic() - start < 5
        heir.membership.close()
