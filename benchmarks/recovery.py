"""A learner is killed in the middle of a backlog: how soon is the group where it would have been?

    .venv/bin/python -m benchmarks.recovery [--quick] --json

1. ``penstock run learner`` (default committee, Kafka) works on a prefilled topic; its rate is measured, then SIGKILL.
2. It is started again under the same name. ``seconds_to_head``: from that start (interpreter and imports included)
   until all there was is committed. ``allowed_seconds``: 5 + events since the newest usable checkpoint ÷ that rate.
3. A second member stands by, the topic gets as much again, and the first is killed once more. ``seconds_to_takeover``:
   from the kill to the first commit of the other; ``allowed_takeover_seconds``: the larger of session and transaction
   timeout + 10 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.cluster import Cluster, fill, kafka, make_topics
from benchmarks.environment import ROOT, environment
from benchmarks.output import finish, is_quick, rounded, say, table
from benchmarks.stream import encoded, examples, open_source
from penstock.log.kafka_options import KafkaOptions
from penstock.models.artifact import Signer
from penstock.runtime.checkpoint import DirectoryCheckpoints
from penstock.runtime.loop import group_name
from penstock.topology import physical_name

RECORDS, QUICK_RECORDS = 60_000, 16_000
#: The share of a backlog that is done when the learner is killed.
KILLED_AT = 0.5
KEY = "only for benchmarks"
LOOK_EVERY_S = 0.02
DEADLINE_S = 600.0
COORDINATOR_S = 30.0
#: Until a member that has just been started has joined.
JOINING_S = 6.0


class Learner:
    """One ``penstock run learner`` process of its own name."""

    def __init__(self, bootstrap: str, spec: Path, data_dir: Path, name: str) -> None:
        options = ["--pipeline", str(spec), "--data-dir", str(data_dir), "--log", f"kafka://{bootstrap}"]
        self._errors = (data_dir / f"{name}.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "penstock", *options, "run", "learner"],
            stdout=self._errors,
            stderr=self._errors,
            cwd=ROOT,
            env=os.environ | {"PENSTOCK_SIGNING_KEY": KEY, "PENSTOCK_INSTANCE": name},
        )

    def kill(self) -> None:
        """SIGKILL. Idempotent."""
        self._process.kill()
        self._process.wait()
        self._errors.close()


class Progress:
    """The committed offset of the learners' group."""

    def __init__(self, cluster: Cluster) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": cluster.bootstrap, "group.id": group_name(cluster.run, "learner")}
        )
        self._where = TopicPartition(physical_name(cluster.run, "examples"), 0)

    def __call__(self) -> int:
        """The next offset to be read; 0 where nothing is committed. A group whose coordinator loads is asked again."""
        until = time.monotonic() + COORDINATOR_S
        while True:
            try:
                return max(0, int(self._consumer.committed([self._where], COORDINATOR_S)[0].offset))
            except KafkaException:
                if time.monotonic() > until:
                    raise
                time.sleep(LOOK_EVERY_S)

    def wait(self, offset: int) -> float:
        """When (monotonic clock) it came to ``offset``. Raises ``RuntimeError`` when that takes too long."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            if self() >= offset:
                return time.monotonic()
            time.sleep(LOOK_EVERY_S)
        raise RuntimeError(f"the group did not come to offset {offset}; it is at {self()}")


def main() -> None:
    """Run and print."""
    records = QUICK_RECORDS if is_quick(__doc__) else RECORDS
    with kafka() as cluster, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        figures = _measure(cluster, Path(folder), records, stack)
        figures["environment"] = environment(cluster.version)
    shown = [(name, value) for name, value in figures.items() if name != "environment"]
    table("recovery", ("figure", "value"), shown)
    finish(figures)


def _measure(cluster: Cluster, folder: Path, records: int, stack: ExitStack) -> dict[str, Any]:
    make_topics(cluster, cluster.run)
    events = encoded(examples(open_source(cluster.run), 2 * records))
    append = _appender(cluster, events, records)
    append()
    spec, progress = _spec(folder, cluster.run), Progress(cluster)

    def learner(name: str) -> Learner:
        started = Learner(cluster.bootstrap, spec, folder, name)
        stack.callback(started.kill)
        return started

    # 1.
    first = learner("one")
    rate = _rate(progress, int(KILLED_AT * records))
    first.kill()
    at_kill = progress()
    since = records - _checkpoint(folder, cluster.run, at_kill)
    say(f"killed at {at_kill} of {records}, {rate:.0f} events/s; {since} events since the checkpoint")
    # 2.
    began = time.monotonic()
    second = learner("one")
    to_head = progress.wait(records) - began
    say(f"back at the head after {to_head:.1f} s")
    # 3.
    learner("two")
    time.sleep(JOINING_S)
    append()
    progress.wait(records + records // 4)
    second.kill()
    killed, reached = time.monotonic(), progress()
    to_takeover = progress.wait(reached + 1) - killed
    options = KafkaOptions(bootstrap=cluster.bootstrap, pipeline=cluster.run)
    return {
        "seconds_to_head": rounded(to_head),
        "allowed_seconds": rounded(5 + since / rate),
        "events_since_checkpoint": since,
        "events_per_second": round(rate),
        "seconds_to_takeover": rounded(to_takeover),
        "allowed_takeover_seconds": max(options.session_timeout_ms, options.transaction_timeout_ms) / 1000 + 10,
        "records": records,
        "killed_at": at_kill,
    }


def _appender(cluster: Cluster, events: Iterator[tuple[bytes, bytes]], count: int) -> Callable[[], None]:
    return lambda: fill(cluster, physical_name(cluster.run, "examples"), islice(events, count))


def _rate(progress: Progress, until: int) -> float:
    """Events per second from the first commit that is seen to the one at ``until``."""
    began = progress.wait(1)
    first = progress()
    ended = progress.wait(until)
    return (progress() - first) / (ended - began)


def _spec(folder: Path, name: str) -> Path:
    """The spec of the events, under the run's name, as a file."""
    path = folder / "spec.py"
    path.write_text(
        f"from benchmarks.stream import open_source\n\nPIPELINE = open_source({name!r}).pipeline\n", encoding="utf-8"
    )
    return path


def _checkpoint(data_dir: Path, pipeline: str, committed: int) -> int:
    """The offset of the newest checkpoint that a recovery at ``committed`` can use; 0 without one."""
    store = DirectoryCheckpoints(data_dir / pipeline / "checkpoints", Signer(KEY.encode()))
    offsets = [stored.checkpoint.offsets["examples"] for stored in store.candidates("learner", 0)]
    return next((offset for offset in offsets if offset <= committed), 0)


if __name__ == "__main__":
    main()
