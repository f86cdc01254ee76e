"""Two scorer processes on two partitions against one on both, with a model that costs CPU time.

    .venv/bin/python -m benchmarks.scaling [--quick] --json

Processes join, the topic is filled, then all start. A model costs 150 µs of CPU per record. One and two processes take
turns (5 each; ``--quick`` 3). ``two_over_one``: records per second of wall time until the last commit.
``cpu_efficiency``: records per CPU second of the scorer processes, relative to one. The broker's CPU is apart
(``broker_cpu_seconds``).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.cluster import Cluster, fill, kafka, make_topics
from benchmarks.contestant import Contestant
from benchmarks.environment import environment
from benchmarks.output import finish, is_quick, rounded, say, table
from benchmarks.stream import encoded, open_source, requests
from penstock.topology import physical_name

MODEL_US = 150.0
RECORDS, QUICK_RECORDS = 60_000, 12_000
ROUNDS, QUICK_ROUNDS = 5, 3
#: Rebalancing is given so many looks of 0.5 s to settle.
LOOKS = 60


class Run(NamedTuple):
    """Wall seconds, CPU seconds of all scorer processes, and of the broker (None where it is not ours)."""

    seconds: float
    cpu_seconds: float
    broker_cpu_seconds: float | None


def main() -> None:
    """Run and print."""
    quick = is_quick(__doc__)
    records, rounds = (QUICK_RECORDS, QUICK_ROUNDS) if quick else (RECORDS, ROUNDS)
    runs: dict[int, list[Run]] = {1: [], 2: []}
    with kafka() as cluster, ExitStack() as stack:
        workers = [stack.enter_context(Contestant("benchmarks.loops.slow")) for _ in range(2)]
        turns = int(workers[0].ask("turns_for", micros=MODEL_US))
        for number in range(rounds):
            for count in (1, 2) if number % 2 == 0 else (2, 1):
                run = _run(cluster, workers[:count], f"{cluster.run}-{number}-{count}", turns, records)
                runs[count].append(run)
                say(f"{count} process{'es' * (count > 1)}: {records / run.seconds:.0f}/s")
        figures = _figures(runs, records) | {"environment": environment(cluster.version)}
    rows = [
        (
            count,
            records / _median(taken, "seconds"),
            records / _median(taken, "cpu_seconds"),
            _median(taken, "broker_cpu_seconds"),
        )
        for count, taken in runs.items()
    ]
    table("scaling", ("processes", "records/s", "records per scorer CPU second", "broker CPU s"), rows)
    finish(figures)


def _median(runs: list[Run], name: str) -> float:
    return median(getattr(run, name) or 0.0 for run in runs)


def _figures(runs: dict[int, list[Run]], records: int) -> dict[str, object]:
    one, two = runs[1], runs[2]
    return {
        "two_over_one": rounded(_median(one, "seconds") / _median(two, "seconds")),
        "cpu_efficiency": rounded(_median(one, "cpu_seconds") / _median(two, "cpu_seconds")),
        "records_per_second": {count: round(records / _median(taken, "seconds")) for count, taken in runs.items()},
        "scorer_cpu_seconds": {count: rounded(_median(taken, "cpu_seconds")) for count, taken in runs.items()},
        "broker_cpu_seconds": {count: rounded(_median(taken, "broker_cpu_seconds")) for count, taken in runs.items()},
        "records": records,
        "model_us": MODEL_US,
    }


def _run(cluster: Cluster, workers: list[Contestant], pipeline: str, turns: int, records: int) -> Run:
    make_topics(cluster, pipeline, partitions=2)
    for index, worker in enumerate(workers):
        asked = {"bootstrap": cluster.bootstrap, "pipeline": pipeline, "turns": turns}
        worker.ask("open_scorer", member=f"scorer-{index}", **asked)
    _settle(workers)
    fill(cluster, physical_name(pipeline, "requests"), encoded(requests(open_source(pipeline), records)), (0, 1))
    broker = _cpu_seconds(cluster.pid)
    for worker in workers:
        worker.tell("drain", records=records // len(workers))
    taken = [worker.answer() for worker in workers]
    return Run(
        max(one["ended"] for one in taken) - min(one["began"] for one in taken),
        sum(one["cpu_seconds"] for one in taken),
        None if broker is None else (_cpu_seconds(cluster.pid) or 0.0) - broker,
    )


def _settle(workers: list[Contestant]) -> None:
    """Step all until the two partitions are shared out evenly, twice in a row."""
    calm = 0
    for _ in range(LOOKS):
        for worker in workers:
            worker.tell("held", seconds=0.5)
        shares = [len(worker.answer()) for worker in workers]
        calm = calm + 1 if shares == [2 // len(workers)] * len(workers) else 0
        if calm == 2:
            return
    raise RuntimeError(f"the partitions were not shared out evenly: {shares}")


def _cpu_seconds(pid: int | None) -> float | None:
    """User and system time of process ``pid`` so far."""
    if pid is None:
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
