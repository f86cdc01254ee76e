"""The learner stage on Kafka against Quix Streams, a plain kafka-python loop, and no log at all.

    .venv/bin/python -m benchmarks.learner [--quick] --json

On one topic per model, filled with the same real events, contestants take turns (5 each, ``--quick`` 3); figures are
ratios of medians. In every loop the *same* learner object runs: a committee of that one model on scaled rows, metrics,
error detectors, and snapshots within their budget of 2 % of the time.

``product``: StageLoop on librdkafka, transactions and checkpoints on. ``quix``: Quix Streams, exactly-once, its own
defaults (JSON, a commit every 5 s); state is not checkpointed. ``quix_bytes``: the same with the product's decoder and
encoder instead of Quix's. ``kafka_python``: at least once, a commit per batch, no checkpoints. ``raw``:
decoded examples in memory, no log, outputs dropped: the limit. Timed from the first record to the last commit, start-up
and joining left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from benchmarks.cluster import Cluster, fill, kafka, make_topics
from benchmarks.contest import Turn, alternate, ratio, standing
from benchmarks.contestant import Contestant
from benchmarks.environment import environment
from benchmarks.output import finish, is_quick, rounded, say, table
from benchmarks.peers import peer_versions, peers_python
from benchmarks.stream import encoded, examples, open_source
from penstock.topology import physical_name

#: Events per turn; a data set that ends before starts over.
EVENTS = {"logistic": 100_000, "tree": 30_000, "forest": 5_000}
QUICK_EVENTS = {"logistic": 8_000, "tree": 2_000, "forest": 250}
ROUNDS, QUICK_ROUNDS = 5, 3

#: By name: who runs, and what it is told besides.
Loops: TypeAlias = dict[str, tuple[Contestant, dict[str, Any]]]


def main() -> None:
    """Run and print."""
    quick = is_quick(__doc__)
    events, rounds = (QUICK_EVENTS, QUICK_ROUNDS) if quick else (EVENTS, ROUNDS)
    python = peers_python()
    with kafka() as cluster, Contestant("benchmarks.loops.quix", python) as quix:
        with (
            Contestant("benchmarks.loops.product") as product,
            Contestant("benchmarks.loops.plain") as plain,
            Contestant("benchmarks.loops.raw") as raw,
        ):
            loops: Loops = {
                "product": (product, {}),
                "quix": (quix, {"form": "json"}),
                "quix_bytes": (quix, {"form": "bytes"}),
                "kafka_python": (plain, {}),
                "raw": (raw, {}),
            }
            turns = {model: _contest(cluster, loops, model, events[model], rounds) for model in events}
        figures = _figures(turns)
        figures["source"] = open_source("bench").name
        figures["events"], figures["rounds"] = events, rounds
        figures["environment"] = environment(cluster.version) | {"peers": peer_versions(python)}
    _print(turns)
    finish(figures)


def _contest(cluster: Cluster, loops: Loops, model: str, records: int, rounds: int) -> dict[str, list[Turn]]:
    pipeline = f"{cluster.run}-{model}"
    make_topics(cluster, pipeline)
    fill(cluster, physical_name(pipeline, "examples"), encoded(examples(open_source(pipeline), records)))
    say(f"{model}: {records} examples, {rounds} rounds")

    def turn(name: str, number: int) -> Turn:
        contestant, own = loops[name]
        asked = {"bootstrap": cluster.bootstrap, "pipeline": pipeline, "model": model, "records": records}
        return Turn(**contestant.ask("learn", **asked, **own, run=f"{name}-{model}-{number}"))

    runs: dict[str, Callable[[int], Turn]] = {name: partial(turn, name) for name in loops}
    return alternate(runs, rounds)


def _figures(turns: dict[str, dict[str, list[Turn]]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for other in ("quix", "quix_bytes", "raw", "kafka_python"):
        figures[f"vs_{other}"] = {
            model: rounded(ratio(taken["product"], taken[other])) for model, taken in turns.items()
        }
    figures["events_per_second"] = {
        model: {name: round(standing(one).per_second) for name, one in taken.items()} for model, taken in turns.items()
    }
    figures["cpu_us_per_event"] = {
        model: {name: rounded(standing(one).cpu_us_per_record) for name, one in taken.items()}
        for model, taken in turns.items()
    }
    return figures


def _print(turns: dict[str, dict[str, list[Turn]]]) -> None:
    rows = []
    for model, taken in turns.items():
        for name, one in taken.items():
            stood = standing(one)
            rows.append((model, name, stood.per_second, stood.cpu_us_per_record, ratio(taken["product"], one)))
    table("learner", ("model", "loop", "events/s", "CPU µs per event", "product is × this"), rows)


if __name__ == "__main__":
    main()
