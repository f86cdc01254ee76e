"""Drift benchmark: `python -m benchmarks.drift [--quick] --json`; the last line on stdout is one JSON object.

``ks_vs_kswin``, ``ks_every_event_vs_kswin``: CPU seconds per value of River's KSWIN over those of the KS detector (10
features) at one look per 100 events, and at one per event. ``ks_max_error``: its greatest difference from SciPy's.
``false_incidents_per_50k``: of the whole product over 2,000,000 stationary events of 20 features with their labels;
the greater of 1 and 12 partitions. ``detection_rate``, ``median_delay``: of the whole product on all synthetic
streams. ``monitor_values_per_second``: of the monitor stage, per CPU second. ``suite``: family → contestant → figures;
``rivals``: River's quickest single detector that finds as much with no more false alarms; ``wrong``: the streams on
which the product missed a drift or alarmed without one.

Every contestant sees the same predictions and labels. An alarm within 1,000 rows after a change (a gradual one takes
1,000 itself) finds it; every alarm elsewhere is false. ``--quick``: one seed, abrupt changes of two
generators, without Frouros, KSWIN and real data.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any, get_args

from benchmarks.drift import speed
from benchmarks.drift.frouros_peer import Frouros
from benchmarks.drift.real import real_streams
from benchmarks.drift.scoring import Figures
from benchmarks.drift.stationary import false_rate
from benchmarks.drift.streams import Family
from benchmarks.drift.suite import Suite, rival
from benchmarks.drift.synthetic import QUICK_GENERATORS, synthetic
from benchmarks.environment import environment
from benchmarks.output import finish, is_quick, rounded, table

SEEDS, SLOW_SEEDS = 5, 1
EVENTS, QUICK_EVENTS = 2_000_000, 10_000
SYNTHETIC: tuple[Family, ...] = tuple(family for family in get_args(Family) if not family.startswith("real"))


def main() -> None:
    """Run and print."""
    quick = is_quick(__doc__)
    began = time.perf_counter()
    kswin = speed.kswin_cost()
    figures: dict[str, Any] = {
        "ks_vs_kswin": rounded(kswin / speed.ks_cost(5000 if quick else 20_000, 100)),
        "ks_every_event_vs_kswin": rounded(kswin / speed.ks_cost(2500 if quick else 5000, 1)),
        "ks_max_error": speed.ks_error(5000 if quick else 20_000),
        "monitor_values_per_second": round(speed.monitor_rate(10_000 if quick else 100_000)),
    }
    suite = played(quick)
    product = suite.product(SYNTHETIC)
    rates = {partitions: false_rate(QUICK_EVENTS if quick else EVENTS, partitions) for partitions in (1, 12)}
    by_family = suite.figures()
    for family, contestants in by_family.items():
        show(family, contestants)
    figures |= {
        "detection_rate": rounded(product.detection_rate),
        "median_delay": product.median_delay,
        "false_incidents_per_50k": max(rate for rate, _ in rates.values()),
        "false_incidents_per_50k_by_partitions": {str(partitions): rate for partitions, (rate, _) in rates.items()},
        "synthetic": product._asdict(),
        "suite": {
            family: {name: found._asdict() for name, found in contestants.items()}
            for family, contestants in by_family.items()
        },
        "rivals": {family: found and found[0] for family, members in by_family.items() for found in [rival(members)]},
        "wrong": suite.wrong,
        "false_incidents": {str(partitions): found for partitions, (_, found) in rates.items()},
        "seconds": round(time.perf_counter() - began),
        "environment": environment(),
    }
    finish(figures)


def played(quick: bool) -> Suite:
    """Everybody over the streams."""
    suite = Suite()
    with nullcontext() if quick else Frouros() as frouros:
        if quick:
            suite.run(synthetic(1, QUICK_GENERATORS, widths=(0,)), frouros, slow_seeds=0)
        else:
            suite.run(synthetic(SEEDS), frouros, SLOW_SEEDS)
            suite.run(real_streams(), frouros, SLOW_SEEDS)
    return suite


def show(family: str, contestants: dict[str, Figures]) -> None:
    """One family's table, the best F1 first."""
    rows = [
        (
            name,
            f"{found.f1:.2f}",
            f"{found.detection_rate:.2f}",
            f"{found.false_per_10k:.2f}",
            "–" if found.median_delay is None else f"{found.median_delay:.0f}",
            "–" if found.p90_delay is None else f"{found.p90_delay:.0f}",
            found.drifts,
        )
        for name, found in sorted(contestants.items(), key=lambda item: -item[1].f1)
    ]
    table(family, ("contestant", "F1", "detected", "false per 10k", "median delay", "p90", "drifts"), rows)


if __name__ == "__main__":
    main()
