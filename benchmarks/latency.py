"""Request → prediction over Kafka at 300 a second, against a bare two-hop transactional echo by the same client.

    .venv/bin/python -m benchmarks.latency [--quick] --json

An asker appends requests on schedule and reads committed answers; broker, asker and the one who answers share the
machine. The scorer stage (StageLoop on librdkafka, serving an online model of the default tier) and the echo (consume,
produce the same bytes, commit both in one transaction) take turns: 6 of 10 seconds each (``--quick``: 3 of 4), the
first second of each left out. A latency runs from the scheduled moment to the answer. ``vs_echo``: ratios of the
medians of the turns' p50 and p99; ``ms``: those medians.
"""

from __future__ import annotations

from itertools import islice
from statistics import median, quantiles

from benchmarks.asking import Asker
from benchmarks.cluster import Cluster, kafka, make_topic, make_topics
from benchmarks.contestant import Contestant
from benchmarks.environment import environment
from benchmarks.output import finish, is_quick, rounded, say, table
from benchmarks.stream import encoded, open_source, requests
from penstock.topology import physical_name

PER_SECOND = 300
SECONDS, QUICK_SECONDS = 10, 4
ROUNDS, QUICK_ROUNDS = 6, 3
#: Joining the group and the first batches are over by then.
JOINING_S = 4.0
LEFT_OUT_S = 1


def main() -> None:
    """Run and print."""
    quick = is_quick(__doc__)
    seconds, rounds = (QUICK_SECONDS, QUICK_ROUNDS) if quick else (SECONDS, ROUNDS)
    answers = "benchmarks.loops.answers"
    with kafka() as cluster, Contestant(answers) as stage, Contestant(answers) as echo:
        turns = _turns(cluster, stage, echo, seconds, rounds)
        figures = {
            "vs_echo": {
                name: rounded(_at(turns["scorer"], point) / _at(turns["echo"], point))
                for name, point in (("p50", 50), ("p99", 99))
            },
            "ms": {
                who: {f"p{point}": rounded(1000 * _at(taken, point)) for point in (50, 90, 99)}
                for who, taken in turns.items()
            },
            "per_second": PER_SECOND,
            "rounds": rounds,
            "environment": environment(cluster.version),
        }
    rows = [(who, *(1000 * _at(taken, point) for point in (50, 90, 99))) for who, taken in turns.items()]
    table(f"latency at {PER_SECOND}/s", ("who answers", "p50 ms", "p90 ms", "p99 ms"), rows)
    finish(figures)


def percentile(values: list[float], point: int) -> float:
    """The ``point``-th percentile (1 to 99)."""
    return quantiles(values, n=100, method="inclusive")[point - 1]


def _at(turns: list[list[float]], point: int) -> float:
    return median(percentile(latencies, point) for latencies in turns)


def _turns(
    cluster: Cluster, stage: Contestant, echo: Contestant, seconds: int, rounds: int
) -> dict[str, list[list[float]]]:
    pipeline, answers = cluster.run, f"{cluster.run}.echo-answers"
    make_topics(cluster, pipeline)
    asks = f"{cluster.run}.echo-asks"
    for name in (asks, answers):
        make_topic(cluster, name)
    stage.ask("open_stage", bootstrap=cluster.bootstrap, pipeline=pipeline, name="stage")
    echo.ask("open_echo", bootstrap=cluster.bootstrap, read=asks, write=answers, name=f"{cluster.run}-echo")
    for one in (stage, echo):
        one.tell("answer", seconds=JOINING_S)
    for one in (stage, echo):
        one.answer()
    records = encoded(requests(open_source(pipeline), 10**9))
    askers = {
        "scorer": (
            stage,
            Asker(cluster.bootstrap, physical_name(pipeline, "requests"), physical_name(pipeline, "predictions")),
        ),
        "echo": (echo, Asker(cluster.bootstrap, asks, answers)),
    }
    turns: dict[str, list[list[float]]] = {"scorer": [], "echo": []}
    for number in range(rounds):
        for who in ("scorer", "echo") if number % 2 == 0 else ("echo", "scorer"):
            contestant, asker = askers[who]
            contestant.tell("answer", seconds=seconds + 1.0)
            taken = asker.latencies(list(islice(records, PER_SECOND * seconds)), PER_SECOND)
            contestant.answer()
            turns[who].append(taken[PER_SECOND * LEFT_OUT_S :])
            say(f"{who}: p50 {1000 * percentile(turns[who][-1], 50):.1f} ms")
    for _, asker in askers.values():
        asker.close()
    return turns


if __name__ == "__main__":
    main()
