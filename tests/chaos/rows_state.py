"""Rows 14, 15 and 19 to 21: clocks, retention, other versions, full disks, killed writers. Each has its own scene."""

from __future__ import annotations

import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.log.port import TopicConfig
from penstock.models.artifact import Signer, signing_key
from penstock.runtime.checkpoint import DirectoryCheckpoints
from tests.broker.deletion import delete_records
from tests.chaos.faults import Told, workers_of
from tests.chaos.logs import Embedded, Kafka
from tests.chaos.scene import Scene
from tests.chaos.workload import workload
from tests.system.log_reader import LogReader
from tests.system.processes import wait_for

LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
ROWS = 300
PER_S = 60.0
HOUR_S = 3600
STOPS_S = 90.0
#: A clock that jumps stays there for so long.
STAY_S = 4.0
WRITER_KILLS = 200
OFFSET_BITS = 40


def row_14(scene: Scene, rng: random.Random) -> Told:
    """The processes' clocks jump an hour forward, back, an hour back, and home; horizon and early bound are longer."""
    assert LIBFAKETIME.exists(), "install faketime"
    clock = scene.folder / "clock"
    clock.write_text("+0\n")
    faked = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
    for worker in scene.workers.values():
        worker.environment.update(faked)
    scene.open()
    scene.send_along(workload(rng.randrange(10**6), 3 * ROWS, timeless=True), PER_S)
    scene.reaches("examples", 10)
    for offset_s in (HOUR_S, 0, -HOUR_S, 0):
        clock.write_text(f"{offset_s:+d}\n")
        time.sleep(STAY_S)
    scene.drain()
    joined = {record.key for part in scene.log.everything()["examples"].values() for record in part}
    asked = {one.key for one in scene.sent if one.topic == "requests" and not one.poison}
    labelled = {one.key for one in scene.sent if one.topic == "labels" and not one.poison}
    lost = (asked & labelled) - joined
    assert not lost, f"{len(lost)} labels met no prediction, such as {min(lost)!r}"
    return {"jumps": 4, "examples": len(joined)}


def row_15(scene: Scene, rng: random.Random) -> Told:
    """Requests are deleted that the scorer had not read: it stops and says so, and skips nothing by itself."""
    scene.open()
    scene.send(workload(rng.randrange(10**6), 60))
    scene.drain()
    scorers = workers_of(scene, "scorer")
    for worker in scorers:
        worker.stop()
    before = scene.log.committed()
    scene.send(workload(rng.randrange(10**6, 10**7), 60))
    _delete_requests(scene)
    (scorer, *_) = scorers
    scorer.begin()
    wait_for(lambda: scorer.exits != [], "the scorer stops", STOPS_S)
    scorer.let_go()
    group = f"{scene.pipeline.name}.scorer"
    moved = {key for key, offset in scene.log.committed().items() if key[0] == group and before.get(key) != offset}
    assert not moved, f"offsets were moved over what nobody read: {moved}"
    line = [text for text in scorer.says().splitlines() if text.startswith("penstock:")][-1]
    assert "requests" in line, line
    return {"exit": scorer.exits[0], "says": line[:300]}


def _delete_requests(scene: Scene) -> None:
    """As retention would."""
    if isinstance(scene.log, Kafka):
        ends = {n: records[-1].offset + 1 for n, records in scene.log.everything()["requests"].items()}
        delete_records(scene.log.broker.bootstrap, f"{scene.pipeline.name}.requests.v1", ends)
        return
    assert isinstance(scene.log, Embedded)
    with sqlite3.connect(scene.log.path, timeout=30) as connection:
        found = connection.execute(
            "SELECT p.id FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = ?",
            (f"{scene.pipeline.name}.requests.v1",),
        ).fetchall()
        for (identifier,) in found:
            places = (identifier << OFFSET_BITS, (identifier + 1) << OFFSET_BITS)
            connection.execute("DELETE FROM records WHERE place >= ? AND place < ?", places)
            connection.execute('UPDATE partitions SET "first" = "next" WHERE id = ?', (identifier,))


def row_19(scene: Scene, rng: random.Random) -> Told:
    """Checkpoints say that another River made them: the learner stops with 3; ``--rebuild`` folds again."""
    scene.open()
    scene.send(workload(rng.randrange(10**6), 150))
    scene.drain()
    learners = workers_of(scene, "learner")
    for worker in learners:
        worker.stop()
    store = DirectoryCheckpoints(
        scene.data / scene.pipeline.name / "checkpoints", Signer(signing_key(scene.data, None)), keep=1
    )
    for partition in range(scene.pipeline.partitions):
        newest = next(iter(store.candidates("learner", partition))).checkpoint
        identity = replace(newest.identity, versions={**newest.identity.versions, "river": "0.1"})
        store.write(replace(newest, identity=identity))
    stopped = scene.command("run", "learner", timeout_s=STOPS_S)
    assert stopped.returncode == 3, stopped.stderr
    (line,) = [text for text in stopped.stderr.splitlines() if text.startswith("penstock:")]
    assert "--rebuild" in line, line
    assert "--new-epoch" in line, line
    for worker in learners:
        worker.options = ("--rebuild",)
        worker.begin()
    scene.send(workload(rng.randrange(10**6, 10**7), 60, first_row=150))
    scene.drain()
    return {"says": line[:300]}


def row_20(scene: Scene, rng: random.Random) -> Told:
    """No file may grow any more: nothing is lost, offsets wait (embedded), and all goes on once there is space."""
    scene.open()
    scene.send_along(workload(rng.randrange(10**6), 2000), PER_S)
    scene.reaches("examples", 30)
    if isinstance(scene.log, Embedded):
        limit = scene.log.path.stat().st_size  # the next page is one too many
    else:
        limit = 2 * max(worker.output.stat().st_size for worker in scene.workers.values()) + 8192
    pids = [worker.pid for worker in scene.workers.values() if worker.pid is not None]
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    time.sleep(8.0)
    stuck = scene.count("predictions")
    time.sleep(3.0)
    still = scene.count("predictions") - stuck
    for pid in pids:
        if any(worker.pid == pid for worker in scene.workers.values()):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    before = scene.count("predictions")
    scene.until(lambda: scene.count("predictions") > before, "scoring goes on", STOPS_S)
    scene.enough()
    scene.drain()
    said = "".join(worker.says() for worker in scene.workers.values())
    return {"predictions_while_full": still, "checkpoints_refused": said.count("checkpoint not written")}


WRITER = """
import sys
from pathlib import Path
from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.log.port import Message
log, name, n = EmbeddedLog(Path(sys.argv[1]), "pipe", SystemClock()), sys.argv[2], 0
while True:
    log.append([Message("in", b"k", f"{name}/{n}/{part}".encode(), 0) for part in range(3)])
    print(f"{name}/{n}", flush=True)
    n += 1
"""


def row_21(folder: Path, rng: random.Random, kills: int = WRITER_KILLS) -> Told:
    """Two writers of one file, each killed again and again: what they were told is written, is."""
    path, acknowledged = folder / "log.db", set()
    log = EmbeddedLog(path, "pipe", SystemClock())
    log.ensure_topics([TopicConfig("in", 1)])
    log.close()
    writers: list[tuple[subprocess.Popen[bytes], Path]] = []
    for kill in range(kills + 2):
        if len(writers) == 2:
            victim, said = writers.pop(rng.randrange(2))
            wait_for(lambda said=said: b"\n" in said.read_bytes(), "a first append", 60)
            time.sleep(rng.uniform(0.0, 0.1))
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            acknowledged |= set(said.read_text().split("\n")[:-1])
        said = folder / f"writer-{kill}.txt"
        with said.open("wb") as file:
            command = [sys.executable, "-c", WRITER, str(path), f"w{kill}"]
            writers.append((subprocess.Popen(command, stdout=file), said))
    for victim, said in writers:
        victim.kill()
        victim.wait()
        acknowledged |= set(said.read_text().split("\n")[:-1])
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    records = LogReader(path, "pipe").stored("in")
    assert [one.offset for one in records] == list(range(len(records)))
    batches: dict[str, int] = {}
    for one in records:
        batch = one.value.decode().rpartition("/")[0]
        batches[batch] = batches.get(batch, 0) + 1
    assert set(batches.values()) == {3}, "a batch is there in part, or twice"
    assert acknowledged <= batches.keys()
    return {"kills": kills, "acknowledged": len(acknowledged)}
