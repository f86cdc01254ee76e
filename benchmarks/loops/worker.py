"""Stage loops as `penstock run` composes them, in one process, driven in portions from outside."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.loops.subject import SIGNER
from benchmarks.stream import open_source
from penstock.cli.compose import System, make_loop
from penstock.clock import SystemClock
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka import LibrdkafkaLog
from penstock.models.artifact import DirectoryArtifacts
from penstock.models.snapshots import BudgetedSnapshots
from penstock.runtime.checkpoint import DirectoryCheckpoints
from penstock.runtime.collector import calm_collector, collect_dropped
from penstock.runtime.commits import BackgroundCommits
from penstock.runtime.loop import LoopOptions, StageLoop
from penstock.runtime.switching import switch_promptly
from penstock.telemetry import Telemetry

POLL_S = 0.02
_loops: list[StageLoop] = []


def open_loops(bootstrap: str, pipeline: str, roles: Sequence[str]) -> None:
    """Make the loops of ``roles``; the spec is the events' own, with its default tier."""
    spec = replace(open_source(pipeline).pipeline, name=pipeline)
    folder = Path(tempfile.mkdtemp(prefix="bench-worker-"))
    clock, artifacts = SystemClock(), DirectoryArtifacts(folder / "artifacts", SIGNER)
    system = System(
        spec,
        LibrdkafkaLog(KafkaOptions(bootstrap=bootstrap, pipeline=pipeline)),
        artifacts,
        DirectoryCheckpoints(folder / "checkpoints", SIGNER),
        lambda: BudgetedSnapshots(artifacts, clock),
        clock,
        Telemetry(),
        BackgroundCommits,
        collect_dropped,
    )
    calm_collector()
    switch_promptly()
    _loops.extend(make_loop(role, system, f"{role}-0", LoopOptions()) for role in roles)


def work(records: int) -> float:
    """Step all loops in turn until each has taken ``records`` more; the peak RSS meanwhile in MB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
    left = [records] * len(_loops)
    while any(left):
        for index, loop in enumerate(_loops):
            left[index] -= loop.step(POLL_S) if left[index] else 0
    return _peak_mb()


def close_loops() -> None:
    """Leave the groups."""
    for loop in _loops:
        loop.close()


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
