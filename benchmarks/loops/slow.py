"""A scorer process whose model costs a set number of turns of an idle loop per record."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.loops.product import kafka_log, new_loop
from benchmarks.loops.stopwatch import Stopwatch
from benchmarks.loops.subject import SIGNER, spec
from consumers.scorer import Scorer
from penstock.events import Features, Score
from penstock.models.artifact import MemoryArtifacts
from penstock.models.slot import ServedModels
from penstock.models.watch import Watch
from penstock.runtime.loop import StageLoop
from penstock.spec import Rollout
from penstock.telemetry import Telemetry

POLL_S = 0.05


class SlowModel:
    """Costs ``turns`` of an idle loop per row."""

    def __init__(self, turns: int) -> None:
        self._turns = turns

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """The same score for every row."""
        for _ in rows:
            for _ in range(self._turns):
                pass
        return [0.25] * len(rows)


def turns_for(micros: float) -> int:
    """How many turns cost ``micros`` of CPU time here (the median of 5 tries)."""
    tries, turns = [], 1_000_000
    for _ in range(5):
        began = time.thread_time()
        SlowModel(turns).score_many([{}])
        tries.append(1e6 * (time.thread_time() - began) / turns)
    return int(micros / sorted(tries)[2])


_open: list[tuple[StageLoop, Stopwatch, Any]] = []


def open_scorer(bootstrap: str, pipeline: str, member: str, turns: int) -> None:
    """Make the loop of ``member``; it has not joined yet."""
    served = ServedModels(MemoryArtifacts(SIGNER), lambda *_: SlowModel(turns), SlowModel(turns), lambda *_: None)
    health = Watch(Rollout(), "scorer", time.monotonic, Telemetry())
    scorer, watch = Scorer(spec(pipeline, partitions=2), served, health), Stopwatch()
    opened = kafka_log(bootstrap, pipeline)
    folder = tempfile.mkdtemp(prefix="bench-slow-")
    loop = new_loop(opened.__enter__(), "scorer", pipeline, "slow", Path(folder), lambda: scorer, watch, member=member)
    _open.append((loop, watch, opened))


def held(seconds: float) -> list[int]:
    """Step for so long (there are no records yet); which partitions are held then."""
    loop, until = _open[-1][0], time.monotonic() + seconds
    while time.monotonic() < until:
        loop.step(POLL_S)
    return [partition for partition in (0, 1) if loop.holds(partition)]


def drain(records: int) -> dict[str, float]:
    """Process ``records``, commit, leave: when it began and ended (one clock for all processes), and CPU seconds."""
    loop, watch, opened = _open.pop()
    began, cpu = time.perf_counter(), time.process_time()
    while watch.records < records:
        watch.records += loop.step(POLL_S)
    loop.close()
    ended, cpu_seconds = time.perf_counter(), time.process_time() - cpu
    opened.__exit__(None, None, None)
    return {"began": began, "ended": ended, "cpu_seconds": cpu_seconds}
