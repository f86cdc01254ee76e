"""The scorer stage on Kafka, with a model that costs nothing, against Quix Streams passing the same records through.

    .venv/bin/python -m benchmarks.scorer [--quick] --json

Contestants take turns (5 each, ``--quick`` 3) on one topic of real requests; exactly-once on in both. The product
decodes, checks the contract, scores, encodes a prediction and commits. ``vs_quix``: Quix with its default JSON
(de)serialisers, the value handed on as it is. ``vs_quix_bytes``: Quix handing on bytes without decoding them.

``cpu_us_per_record``: the product's CPU time per part, from separate instrumented turns whose sum is a little above
that of the timed ones; ``client threads`` is what librdkafka's own threads took.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from benchmarks.cluster import fill, kafka, make_topics
from benchmarks.contest import Turn, alternate, ratio, standing
from benchmarks.contestant import Contestant
from benchmarks.environment import environment
from benchmarks.output import finish, is_quick, rounded, say, table
from benchmarks.peers import peer_versions, peers_python
from benchmarks.stream import encoded, open_source, requests
from penstock.topology import physical_name

RECORDS, QUICK_RECORDS = 300_000, 60_000
ROUNDS, QUICK_ROUNDS = 5, 3


def main() -> None:
    """Run and print."""
    quick = is_quick(__doc__)
    records, rounds = (QUICK_RECORDS, QUICK_ROUNDS) if quick else (RECORDS, ROUNDS)
    python = peers_python()
    with (
        kafka() as cluster,
        Contestant("benchmarks.loops.product") as product,
        Contestant("benchmarks.loops.parts") as parted,
        Contestant("benchmarks.loops.quix", python) as quix,
    ):
        pipeline = cluster.run
        make_topics(cluster, pipeline)
        fill(cluster, physical_name(pipeline, "requests"), encoded(requests(open_source(pipeline), records)))
        say(f"{records} requests, {rounds} rounds")
        asked = {"bootstrap": cluster.bootstrap, "pipeline": pipeline, "records": records}
        runs: dict[str, Callable[[int], Turn]] = {
            "product": partial(_turn, product, asked, "product"),
            "quix": partial(_turn, quix, asked | {"form": "json"}, "quix"),
            "quix_bytes": partial(_turn, quix, asked | {"form": "bytes"}, "quixbytes"),
        }
        turns = alternate(runs, rounds)
        parts = _parts(parted, asked, rounds)
        figures = _figures(turns, parts)
        figures["source"], figures["records"], figures["rounds"] = open_source(pipeline).name, records, rounds
        figures["environment"] = environment(cluster.version) | {"peers": peer_versions(python)}
    _print(turns, parts)
    finish(figures)


def _turn(contestant: Contestant, asked: dict[str, Any], name: str, number: int) -> Turn:
    return Turn(**contestant.ask("score", **asked, run=f"{name}-{number}"))


def _parts(contestant: Contestant, asked: dict[str, Any], rounds: int) -> dict[str, float]:
    """Medians of the instrumented turns."""
    measured = [contestant.ask("parts", **asked, run=f"parts-{number}") for number in range(rounds)]
    return {part: median(one[part] for one in measured) for part in measured[0]}


def _figures(turns: dict[str, list[Turn]], parts: dict[str, float]) -> dict[str, Any]:
    return {
        "vs_quix": rounded(ratio(turns["product"], turns["quix"])),
        "vs_quix_bytes": rounded(ratio(turns["product"], turns["quix_bytes"])),
        "records_per_second": {name: round(standing(one).per_second) for name, one in turns.items()},
        "cpu_us_per_record_in_all": {name: rounded(standing(one).cpu_us_per_record) for name, one in turns.items()},
        "cpu_us_per_record": {part: rounded(value) for part, value in parts.items()},
    }


def _print(turns: dict[str, list[Turn]], parts: dict[str, float]) -> None:
    rows = [
        (name, standing(one).per_second, standing(one).cpu_us_per_record, ratio(turns["product"], one))
        for name, one in turns.items()
    ]
    table("scorer", ("loop", "records/s", "CPU µs per record", "product is × this"), rows)
    table("scorer: CPU per record", ("part", "µs"), list(parts.items()))


if __name__ == "__main__":
    main()
