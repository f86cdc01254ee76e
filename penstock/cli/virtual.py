"""Backtests: the same stages, loops and effects over the in-memory log, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from online.loading import model_loader
from penstock.cli.compose import STREAM_ROLES, System, make_loop
from penstock.clock import VirtualClock
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.registry import MemoryRegistry
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.runtime.loop import LoopOptions, StageLoop
from penstock.spec import Pipeline
from penstock.telemetry import Telemetry
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
    loops = [make_loop(role, system, f"{role}-0", options) for role in STREAM_ROLES if role not in PEOPLES]
    effects = EffectRunner(pipeline, log, artifacts, MemoryRegistry(), clock)
    checker = Checker(pipeline, log, artifacts, model_loader(pipeline), clock)
    for tick in ticks:
        clock.advance_to_ms(max(clock.now_ms() + 1, tick.time_ms))
        log.append(tick.messages)
        _settle(loops, [effects.step, checker.step])
        on_row(tick.row)
    return VirtualRun(system)


def _settle(loops: list[StageLoop], effects: list[Callable[[], bool]]) -> None:
    working = True
    while working:
        working = False
        for loop in loops:
            while loop.step(0.0):
                working = True
        for step in effects:
            while step():
                working = True
