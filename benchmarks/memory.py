"""Memory of a worker over two million events: flat, or growing?

    .venv/bin/python -m benchmarks.memory [--quick] --json

One process runs the scorer and the learner stage on Kafka (librdkafka) as `penstock run scorer learner` composes them,
with the default committee, checkpoints, and the hot swaps of its own snapshots. One event is a request that is scored
and an example that is learned. ``last_over_second_quarter``: the process's peak RSS in the last quarter of the
events over that in the second (2,000,000 events; ``--quick`` 80,000, where young models still grow). Interrupted
(Ctrl-C), it reports the quarters of the events so far.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice, pairwise

from benchmarks.cluster import Cluster, fill, kafka, make_topics
from benchmarks.contestant import Contestant
from benchmarks.environment import environment
from benchmarks.output import finish, is_quick, rounded, say, table
from benchmarks.stream import encoded, examples, open_source, requests
from penstock.topology import physical_name

EVENTS, QUICK_EVENTS = 2_000_000, 80_000
PORTIONS = 40


def main() -> None:
    """Run and print."""
    events = QUICK_EVENTS if is_quick(__doc__) else EVENTS
    began = time.perf_counter()
    with kafka() as cluster, Contestant("benchmarks.loops.worker") as worker:
        make_topics(cluster, cluster.run)
        worker.ask("open_loops", bootstrap=cluster.bootstrap, pipeline=cluster.run, roles=["scorer", "learner"])
        peaks: list[float] = []
        try:
            for peak in _peaks(cluster, worker, events):
                peaks.append(peak)  # one by one: what was measured before an interrupt counts
            worker.ask("close_loops")
        except KeyboardInterrupt:
            say("interrupted")
        quarters = quarter_peaks(peaks)
        figures = {
            "last_over_second_quarter": rounded(quarters[3] / quarters[1], 4),
            "quarter_peaks_mb": [rounded(peak, 4) for peak in quarters],
            "events": events // PORTIONS * len(peaks),
            "seconds": round(time.perf_counter() - began),
            "log": "kafka (librdkafka)",
            "source": open_source("bench").name,
            "environment": environment(cluster.version),
        }
    table("memory", ("quarter", "peak RSS, MB"), list(enumerate(quarters, 1)))
    finish(figures)


def quarter_peaks(peaks: list[float]) -> list[float]:
    """The peak of each quarter of the portions, as equal as their number allows.

    Raises:
        ValueError: there are fewer than 4.
    """
    bounds = [len(peaks) * quarter // 4 for quarter in range(5)]
    return [max(peaks[start:stop]) for start, stop in pairwise(bounds)]


def _peaks(cluster: Cluster, worker: Contestant, events: int) -> Iterator[float]:
    """The worker's peak RSS in MB per portion of events, which are appended as they are wanted."""
    asked = encoded(requests(open_source(cluster.run), events))
    known = encoded(examples(open_source(cluster.run), events))
    for portion in range(PORTIONS):
        count = events // PORTIONS
        fill(cluster, physical_name(cluster.run, "requests"), islice(asked, count))
        fill(cluster, physical_name(cluster.run, "examples"), islice(known, count))
        peak = float(worker.ask("work", records=count))
        say(f"{(portion + 1) * count} events: {peak:.1f} MB")
        yield peak


if __name__ == "__main__":
    main()
