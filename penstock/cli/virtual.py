"""Backtests: the same stages, loops and effects over the in-memory log, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from online.loading import model_loader
from penstock.cli.compose import STREAM_ROLES, System, make_loop
from penstock.clock import VirtualClock
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Log, TopicPartition
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.registry import MemoryRegistry
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.runtime.loop import LoopOptions, StageLoop
from penstock.spec import Pipeline
from penstock.telemetry import Telemetry
from penstock.topology import STAGES
from producers.schedule import Tick
from retraining.checking import Checker
from retraining.effects import EffectRunner

#: Signs what never leaves the process.
_KEY = b"in-memory backtest"
#: A checkpoint only matters to a process that may die: a backtest starts over.
_NEVER_S = 1e18
#: In virtual time nobody is there to be told.
PEOPLES = ("notifier",)


@dataclass(frozen=True, slots=True)
class VirtualRun:
    """A finished backtest: its log, to be read by the report."""

    system: System


def run_virtual(pipeline: Pipeline, ticks: Iterable[Tick], on_row: Callable[[int], None]) -> VirtualRun:
    """Feed ``ticks`` one at a time; after each, run every stage and effect until nothing is left to do.

    Virtual append time is the tick's event time, made strictly increasing, so that every record has a place
    among the rows. The result depends on (pipeline, ticks) alone. ``on_row`` hears each tick's row.
    """
    signer = Signer(_KEY)
    clock = VirtualClock(-(1 << 62))
    artifacts = MemoryArtifacts(signer)
    log = MemoryLog(clock, topic_configs(pipeline.partitions))
    system = System(pipeline, log, artifacts, MemoryCheckpoints(), lambda: EverySnapshot(artifacts), clock, Telemetry())
    options = LoopOptions(checkpoint_every_s=_NEVER_S)
    loops = [_Fed(make_loop(role, system, f"{role}-0", options), log) for role in STREAM_ROLES if role not in PEOPLES]
    effects = EffectRunner(pipeline, log, artifacts, MemoryRegistry(), clock)
    checker = Checker(pipeline, log, artifacts, model_loader(pipeline), clock)
    for tick in ticks:
        clock.advance_to_ms(max(clock.now_ms() + 1, tick.time_ms))
        log.append(tick.messages)
        _settle(loops, [effects.step, checker.step])
        on_row(tick.row)
    return VirtualRun(system)


class _Fed:
    """A loop that is stepped only where it has something to read: three of four polls would find nothing."""

    def __init__(self, loop: StageLoop, log: Log) -> None:
        entry = STAGES[loop.stage]
        self._loop, self._log = loop, log
        self._reads = [TopicPartition(topic, p) for topic in entry.reads for p in range(log.partitions(topic))]
        # The scorer follows new models before each batch; other stages look at what they tail only with an input.
        tails = entry.tails if entry.name == "scorer" else ()
        self._tails = [TopicPartition(topic, p) for topic in tails for p in range(log.partitions(topic))]
        self._taken = 0
        self._followed = 0

    def run(self) -> bool:
        """Step until nothing is left to read; whether any record was taken."""
        worked = False
        while self._taken < self._count(self._reads) or self._followed < self._count(self._tails):
            self._followed = self._count(self._tails)
            took = self._loop.step(0.0)
            if not took:
                break
            self._taken += took
            worked = True
        return worked

    def _count(self, partitions: list[TopicPartition]) -> int:
        # Nothing is deleted in virtual time, and the log in memory has no gaps.
        return sum(self._log.bounds(each).end for each in partitions)


def _settle(loops: list[_Fed], effects: list[Callable[[], bool]]) -> None:
    working = True
    while working:
        working = False
        for loop in loops:
            working |= loop.run()
        for step in effects:
            while step():
                working = True
