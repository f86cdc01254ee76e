"""A running system that is hurt while upstream sends: its processes, its log, and how it comes to rest."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from penstock.spec import Pipeline, Tier, load_pipeline
from penstock.topology import STAGES as TOPOLOGY
from tests.chaos.logs import ChaosLog
from tests.chaos.worker import MOST_CRASHES, Worker
from tests.chaos.workload import Sent
from tests.system.log_reader import Committed, Recorded
from tests.system.processes import penstock, wait_for

#: Lowered for tests: what a dead owner's partitions wait for.
SESSION_S, TRANSACTION_S = 6.0, 8.0
DRAIN_S = 240.0
TEND_S = 0.05
LOOK_S = 0.4

PIPELINE = '''"""The pipeline under test: the demo's, on several partitions, with an event-time horizon."""

from dataclasses import replace
from pathlib import Path

from penstock.spec import DriftPolicy, Gates, Millis, RetrainingPolicy, Rollout, load_pipeline

PIPELINE = replace(
    load_pipeline(Path({credit!r})),
    name={name!r},
    tier={tier!r},
    partitions={partitions},
    label_delay=Millis(30 * 60_000),
    horizon_ms=3 * 3_600_000,
    early_bound_ms=2 * 3_600_000,
    drift=DriftPolicy(window=200, reference=200, look_every=50),
    retraining=RetrainingPolicy(collect_rows=200, effect_rows=100, cooldown_rows=200, trial_rows=400),
    gates=Gates(),
    rollout=Rollout(canary_share=0.2, canary_rows=50),
)
'''
CREDIT = Path(__file__).parents[2] / "pipelines" / "credit.py"


def write_pipeline(folder: Path, name: str, partitions: int, tier: Tier = "balanced") -> Path:
    """A pipeline file in ``folder``."""
    path = folder / f"{name}.py"
    path.write_text(PIPELINE.format(credit=str(CREDIT), name=name, partitions=partitions, tier=tier))
    return path


class Cast(NamedTuple):
    """Which processes there are: by name, the roles of each. ``tier``: of the online committee."""

    workers: Mapping[str, tuple[str, ...]]
    tier: Tier = "balanced"

    @property
    def roles(self) -> set[str]:
        """All roles that are played."""
        return {role for roles in self.workers.values() for role in roles}


FULL = Cast(
    {
        "scorer-a": ("scorer", "monitor"),
        "scorer-b": ("scorer", "monitor"),
        "learner-a": ("joiner", "learner"),
        "learner-b": ("joiner", "learner"),
        "decider": ("incidents", "retrainer"),
    }
)
SHORT = Cast(
    {
        "scorer-a": ("scorer", "monitor", "incidents"),
        "scorer-b": ("scorer",),
        "learner-b": ("joiner", "learner"),
    },
    tier="light",
)


class Scene:
    """Processes of one pipeline on one log, tended by a thread that starts again what dies."""

    def __init__(self, folder: Path, log: ChaosLog, pipeline: str, cast: Cast, partitions: int = 2) -> None:
        self.folder, self.log, self.cast = folder, log, cast
        self.data = folder / "data"
        self.pipeline_file = write_pipeline(folder, pipeline, partitions, cast.tier)
        self.pipeline: Pipeline = load_pipeline(self.pipeline_file)
        self.sent: list[Sent] = []
        self.environment = {
            "PENSTOCK_KAFKA_SESSION_TIMEOUT_MS": str(int(SESSION_S * 1000)),
            "PENSTOCK_KAFKA_TRANSACTION_TIMEOUT_MS": str(int(TRANSACTION_S * 1000)),
        }
        self.workers = {name: self.worker(name, roles) for name, roles in cast.workers.items()}
        self._over, self._enough = threading.Event(), threading.Event()
        self._tending = threading.Thread(target=self._tend, daemon=True)
        self._sender = threading.Lock()
        self._sending: threading.Thread | None = None
        self._failed: list[BaseException] = []

    def worker(self, name: str, roles: Sequence[str], url: str = "", **environment: str) -> Worker:
        """A process that is not started yet and belongs to nobody."""
        arguments = (
            *("--pipeline", str(self.pipeline_file), "--data-dir", str(self.data)),
            *("--log", url or self.log.url),
        )
        return Worker(
            name, tuple(roles), arguments, self.folder, {**self.environment, "PENSTOCK_INSTANCE": name, **environment}
        )

    def open(self) -> None:
        """Start the log, make the topics, start the processes."""
        self.log.start()
        if self.log.name == "kafka":
            self.create_topics()
        for worker in self.workers.values():
            worker.begin()
        self._tending.start()

    def create_topics(self) -> None:
        """`penstock topics create`."""
        made = self.command("topics", "create")
        assert made.returncode == 0, made.stderr

    def command(self, *arguments: str, timeout_s: float = 120.0):
        """One `penstock` command in this scene, to its end."""
        given = ("--pipeline", str(self.pipeline_file), "--data-dir", str(self.data), "--log", self.log.url)
        return penstock(*given, *arguments, cwd=self.folder, timeout_s=timeout_s, **self.environment)

    def send(self, records: Sequence[Sent], per_s: float = 0.0) -> None:
        """Send ``records`` now (``per_s``: spread evenly), in this thread."""
        batch = max(1, int(per_s / 20)) if per_s else 200
        began = time.monotonic()
        for at in range(0, len(records), batch):
            if per_s and self._enough.is_set():
                return
            if per_s:
                time.sleep(max(0.0, began + at / per_s - time.monotonic()))
            part = records[at : at + batch]
            with self._sender:  # so that `sent` has the order in which they were acknowledged
                self.log.send(part)
                self.sent += part

    def send_along(self, records: Sequence[Sent], per_s: float) -> None:
        """Send ``records`` in a thread while other things happen."""

        def body() -> None:
            try:
                self.send(records, per_s)
            except BaseException as error:  # noqa: BLE001 - raised by whoever waits for the end of sending
                self._failed.append(error)

        self.sent_all()
        self._enough.clear()
        self._sending = threading.Thread(target=body, daemon=True)
        self._sending.start()

    def sending(self) -> bool:
        """Whether `send_along` is still at it."""
        return self._sending is not None and self._sending.is_alive()

    def sent_all(self) -> None:
        """Wait for the end of `send_along`."""
        if self._sending is not None:
            self._sending.join()
            self._sending = None
        if self._failed:
            raise self._failed[0]

    def enough(self) -> None:
        """Let `send_along` send no more."""
        self._enough.set()
        self.sent_all()
        self._enough.clear()

    def count(self, topic: str) -> int:
        """Records in a topic."""
        return sum(map(len, self.log.everything().get(topic, {}).values()))

    def reaches(self, topic: str, count: int, deadline_s: float = DRAIN_S) -> None:
        """Wait until a topic has ``count`` records."""
        self.until(lambda: self.count(topic) >= count, f"{count} {topic}", deadline_s)

    def until(self, condition: Callable[[], bool], what: str, deadline_s: float = DRAIN_S) -> None:
        """Wait for ``condition``; fail at the deadline, or when a process cannot be kept running."""

        def holds() -> bool:
            hopeless = [worker.name for worker in self.workers.values() if worker.crashes > MOST_CRASHES]
            assert not hopeless, f"{hopeless[0]} ends with an error at every start; see {self.folder}"
            return condition()

        wait_for(holds, what, deadline_s)

    def behind(self) -> dict[str, int]:
        """Inputs that stages have not committed yet, by stage and topic; empty when nothing is under way.

        What is committed is asked first: it then covers everything, also what a stage wrote in between.
        """
        committed = self.log.committed()
        recorded = self.log.everything()
        found = {}
        for stage in TOPOLOGY.values():
            if stage.name in self.cast.roles:
                group = f"{self.pipeline.name}.{stage.name}"
                found.update(
                    {f"{stage.name}<{topic}": _left(group, topic, committed, recorded) for topic in stage.reads}
                )
        if "retrainer" in self.cast.roles:
            found["fits"] = len(fits_under_way(recorded))
        return {name: count for name, count in found.items() if count}

    def drain(self, deadline_s: float = DRAIN_S) -> float:
        """Wait until all that was sent is worked off; how long that took, in seconds."""
        self.sent_all()
        began = time.monotonic()
        left: dict[str, int] = {}

        def worked_off() -> bool:
            time.sleep(LOOK_S)
            left.clear()
            left.update(self.behind())
            return not left

        try:
            self.until(worked_off, "all is worked off", deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; left: {left}; see {self.folder}") from error
        return time.monotonic() - began

    def rest(self) -> None:
        """Stop all processes in good order; the log stays."""
        self._over.set()
        if self._tending.is_alive():
            self._tending.join()
        threads = [threading.Thread(target=worker.stop) for worker in self.workers.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def end(self) -> None:
        """Kill whatever is left."""
        self._over.set()
        if self._tending.is_alive():
            self._tending.join()
        for worker in self.workers.values():
            worker.let_go()
        self.log.end()

    @contextmanager
    def held(self, worker: Worker) -> Iterator[Worker]:
        """Nobody starts ``worker`` again within this block; after it, it runs."""
        worker.let_go()
        try:
            yield worker
        finally:
            worker.begin()

    def _tend(self) -> None:
        while not self._over.wait(TEND_S):
            for worker in list(self.workers.values()):
                worker.tend()


def _left(group: str, topic: str, committed: Committed, recorded: Recorded) -> int:
    return sum(
        sum(record.offset >= committed.get((group, topic, partition), 0) for record in records)
        for partition, records in recorded.get(topic, {}).items()
    )


def fits_under_way(recorded: Recorded) -> set[str]:
    """Runs whose data are collected and whose fit has no outcome yet."""
    decisions = [json.loads(record.value) for record in recorded.get("decisions", {}).get(0, [])]
    judged = {one["run_id"] for one in decisions if one["step"] in ("trained", "failed", "rejected")}
    return {one["run_id"] for one in decisions if one["step"] == "collected"} - judged
