"""The scorer stage once more, with CPU counters around its parts."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.loops.metered import MeteredLog, metered
from benchmarks.loops.product import free_scorer, kafka_log, new_loop, run_to_end
from benchmarks.loops.stopwatch import Stopwatch
from penstock.runtime.stage import Stage


def parts(bootstrap: str, pipeline: str, records: int, run: str) -> dict[str, float]:
    """CPU µs per record of each part; ``client threads``: librdkafka's own; ``loop``: what is left of the loop."""
    spent: Counter[str] = Counter()
    watch = Stopwatch()

    def make() -> Stage:
        stage = free_scorer(pipeline)
        stage.process = metered(spent, "score", stage.process)  # type: ignore[method-assign]
        return stage

    with tempfile.TemporaryDirectory() as folder, kafka_log(bootstrap, pipeline) as log:
        loop = new_loop(MeteredLog(log, spent), "scorer", pipeline, run, Path(folder), make, watch)
        loop._decode = metered(spent, "decode", loop._decode)  # type: ignore[method-assign]
        loop._router.messages = metered(spent, "encode", loop._router.messages)  # type: ignore[method-assign]
        loop.step = metered(spent, "step", loop.step)  # type: ignore[method-assign]
        turn = run_to_end(loop, watch, records)
    micros = {part: nanos / 1000 / records for part, nanos in spent.items()}
    within = micros.pop("step")
    in_step = ("fetch", "decode", "score", "encode")
    whole = 1e6 * turn["cpu_seconds"] / records
    return {
        **{part: micros[part] for part in (*in_step, "produce")},
        "loop": within - sum(micros[part] for part in in_step),
        "client threads": whole - within - micros["produce"],
        "in all": whole,
    }
