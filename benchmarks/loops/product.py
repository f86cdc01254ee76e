"""The product's stages by its own loop on librdkafka: transactions on, checkpoints on as in production."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.loops.stopwatch import Stopwatch
from benchmarks.loops.subject import SIGNER, new_learner, spec
from consumers.scorer import Scorer
from penstock.clock import SystemClock
from penstock.events import Features, Score
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka import LibrdkafkaLog
from penstock.log.port import Log
from penstock.models.artifact import MemoryArtifacts
from penstock.models.slot import ServedModels
from penstock.models.watch import Watch
from penstock.runtime.checkpoint import DirectoryCheckpoints
from penstock.runtime.collector import calm_collector
from penstock.runtime.commits import BackgroundCommits
from penstock.runtime.loop import LoopOptions, StageLoop
from penstock.runtime.stage import Stage
from penstock.runtime.switching import switch_promptly
from penstock.spec import Rollout
from penstock.telemetry import Telemetry
from penstock.topology import STAGES

POLL_S = 0.05


class FreeModel:
    """A model that costs nothing."""

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """The same score for every row."""
        return [0.25] * len(rows)


def free_scorer(pipeline: str) -> Scorer:
    """The scorer stage serving a model that costs nothing."""
    served = ServedModels(MemoryArtifacts(SIGNER), lambda *_: FreeModel(), FreeModel(), lambda *_: None)
    return Scorer(spec(pipeline), served, Watch(Rollout(), "scorer", time.monotonic, Telemetry()))


def new_loop(
    log: Log,
    role: str,
    pipeline: str,
    run: str,
    folder: Path,
    make: Callable[[], Stage],
    watch: Stopwatch,
    member: str = "the-only",
) -> StageLoop:
    """The loop of ``role`` as production composes it, in a group that only this run has."""

    def make_stage(_: int) -> Stage:
        stage = make()
        process = stage.process

        def timed(inputs: Any) -> Any:
            watch.start()
            return process(inputs)

        stage.process = timed  # type: ignore[method-assign]
        return stage

    calm_collector()
    switch_promptly()
    return StageLoop(
        replace(STAGES[role], name=f"{role}-{run}"),
        spec(pipeline),
        log,
        make_stage,
        DirectoryCheckpoints(folder / "checkpoints", SIGNER),
        SystemClock(),
        Telemetry(),
        f"{member}-{run}",
        LoopOptions(),
        commits=BackgroundCommits(),
        reached=lambda point: watch.mark() if point == "after_commit" else None,
    )


def run_to_end(loop: StageLoop, watch: Stopwatch, records: int) -> dict[str, Any]:
    """Step ``loop`` until ``records`` were processed, and close it, which waits for the last commit."""
    while watch.records < records:
        watch.records += loop.step(POLL_S)
    loop.close()
    return watch.turn()


@contextmanager
def kafka_log(bootstrap: str, pipeline: str) -> Iterator[Log]:
    """The log of ``pipeline``, closed at the end."""
    log = LibrdkafkaLog(KafkaOptions(bootstrap=bootstrap, pipeline=pipeline))
    try:
        yield log
    finally:
        log.close()


def learn(bootstrap: str, pipeline: str, model: str, records: int, run: str) -> dict[str, Any]:
    """One turn of the learner stage."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as name, kafka_log(bootstrap, pipeline) as log:
        folder = Path(name)
        loop = new_loop(log, "learner", pipeline, run, folder, lambda: new_learner(pipeline, model, folder), watch)
        return run_to_end(loop, watch, records)


def score(bootstrap: str, pipeline: str, records: int, run: str) -> dict[str, Any]:
    """One turn of the scorer stage."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, kafka_log(bootstrap, pipeline) as log:
        loop = new_loop(log, "scorer", pipeline, run, Path(folder), lambda: free_scorer(pipeline), watch)
        return run_to_end(loop, watch, records)
