"""Memory of the committee over an unlimited stream: flat, or growing?

    .venv/bin/python -m benchmarks.learning_memory [--quick] [--tier T] [--events N] [--state FILE] --json

Learns one endless stream (a data set over and over) in portions and notes the process's peak RSS of each.
``last_over_second_quarter``: the last quarter's peak over the second's. With ``--state`` the run goes on where a killed
one stopped: the committee and the peaks are written after every portion. Default events: light 5,000,000, balanced
1,000,000, full 100,000; ``--quick`` 20,000 of the light tier.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.output import finish, rounded, say
from benchmarks.stream import open_source
from online.committee import Committee
from penstock.events import Label, Request
from penstock.models import pickles
from penstock.spec import Tier

EVENTS: dict[Tier, int] = {"light": 5_000_000, "balanced": 1_000_000, "full": 100_000}
QUICK_EVENTS = 20_000
PORTIONS = 40


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="end within 60 seconds, with rougher figures")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line (always printed)")
    parser.add_argument("--tier", choices=tuple(EVENTS), default=None)
    parser.add_argument("--events", type=int)
    parser.add_argument("--state", type=Path, help="go on from this file, and write it")
    asked = parser.parse_args()
    tier: Tier = asked.tier or ("light" if asked.quick else "balanced")
    events = asked.events or (QUICK_EVENTS if asked.quick else EVENTS[tier])
    source = open_source("bench")
    committee, peaks = _resumed(asked.state, Committee(replace(source.pipeline, tier=tier)))
    portion = events // PORTIONS
    rows = islice(source.rows, len(peaks) * portion, None)
    while len(peaks) < PORTIONS:
        _forget_peak()
        for row in islice(rows, portion):
            features = msgspec.json.decode(row.request, type=Request).features
            committee.learn_one(features, msgspec.json.decode(row.label or b"", type=Label).value)
        peaks.append(_peak_mb())
        say(f"{committee.learned} events, {peaks[-1]:.1f} MB")
        if asked.state is not None:
            asked.state.write_bytes(pickles.dumps((committee, peaks)))
    quarter = PORTIONS // 4
    quarters = [max(peaks[start : start + quarter]) for start in range(0, PORTIONS, quarter)]
    figures: dict[str, Any] = {
        "tier": tier,
        "events": events,
        "source": source.name,
        "last_over_second_quarter": rounded(quarters[3] / quarters[1], 4),
        "quarter_peaks_mb": [rounded(peak, 4) for peak in quarters],
    }
    finish(figures)


def _resumed(path: Path | None, fresh: Committee) -> tuple[Committee, list[float]]:
    if path is None or not path.exists():
        return fresh, []
    committee, peaks = pickles.loads(path.read_bytes())
    return committee, peaks


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    return int(kilobytes) / 1024.0


if __name__ == "__main__":
    main()
