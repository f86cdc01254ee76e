"""The whole system, start-up included: seconds, memory, drifts found, and what promotions gained.

    .venv/bin/python -m benchmarks.demo [--quick] --json

Runs ``penstock demo --headless --events 20000`` in a scratch folder, for three seeds of the loan stream and (where
PENSTOCK_DATASETS_DIR is set) two real data sets; ``--quick`` runs one seed. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EVENTS = 20_000
#: An incident that opens so soon after a true drift has found it (labels come 300 to 500 rows late).
FOUND_WITHIN_ROWS = 1500


def run_demo(arguments: list[str]) -> dict[str, Any]:
    """One headless demo from process start to exit, with its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "penstock.cli.main", "demo", "--headless", "--events", str(EVENTS)]
        started = time.perf_counter()
        subprocess.run(
            [*command, *arguments, "--data-dir", str(Path(folder) / "data"), "--report", str(report)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - started
        return measured(json.loads(report.read_text()), seconds)


def measured(report: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The figures of one run."""
    rows = sorted({drift["row"] for drift in report["true_drifts"]})
    opened = [incident["position"] for incident in report["drift"]]
    found = [row for row in rows if any(row <= position <= row + FOUND_WITHIN_ROWS for position in opened)]
    promotions = [p for p in report["promotions"] if p["rows"] > 0]
    return {
        "seconds": round(seconds, 1),
        "peak_rss_mb": report["peak_rss_mb"],
        "true_drifts": len(rows),
        "found": len(found),
        "accuracy": round(report["accuracy"], 4),
        "baseline_accuracy_delayed": round(report["baseline_accuracy_delayed"], 4),
        "promotions": len(promotions),
        "better_than_predecessor": sum(p["served_log_loss"] < p["predecessor_log_loss"] for p in promotions),
        "log_losses": [[round(p["served_log_loss"], 4), round(p["predecessor_log_loss"], 4)] for p in promotions],
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed only")
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    options = parser.parse_args()
    runs = {f"credit seed {seed}": ["--seed", str(seed)] for seed in ((1,) if options.quick else (1, 2, 3))}
    if not options.quick and os.environ.get("PENSTOCK_DATASETS_DIR"):
        runs |= {name: ["--dataset", name] for name in ("sba_loans_22k", "taiwan_credit")}
    results = {}
    for name, arguments in runs.items():
        results[name] = run_demo(arguments)
        if not options.json:
            print(f"{name}: {results[name]}")
    print(json.dumps({"events": EVENTS, "cores": os.cpu_count(), "runs": results}))


if __name__ == "__main__":
    main()
