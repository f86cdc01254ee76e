"""How long a retrain takes, and what serving notices of it.

    .venv/bin/python -m benchmarks.retrain [--quick] --json

1. An embedded log gets 20,000 labelled rows of 25 features (``--quick``: 3,000) and a snapshot of the online model.
2. A process of the retrainer's priority retrains on all of them with the default budget: ``seconds``, ``cpu_seconds``
   and ``peak_rss_mb``, from reading the examples to the stored artifact.
3. ``penstock run serving`` serves the online model from the same log; ``POST /v1/predict`` is asked 50 times a second,
   a latency runs from the scheduled moment to the answer. Retrains go on all the time in that other process, which is
   stopped (SIGSTOP) in every second turn: ``serving_p99_ratio`` is the median of the turns' p99 with a retrain over
   that without; 6 turns each of 8 seconds (``--quick``: 3 of 4), the first second of each left out.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import msgspec

from benchmarks.contestant import Contestant
from benchmarks.environment import ROOT, environment
from benchmarks.latency import percentile
from benchmarks.loops.refit import drawn
from benchmarks.output import finish, is_quick, rounded, say, table
from penstock.events import Features

ROWS, QUICK_ROWS = 20_000, 3_000
TURNS, QUICK_TURNS = 6, 3
SECONDS, QUICK_SECONDS = 8, 4
PER_SECOND, CLIENTS = 50, 8
LEFT_OUT_S = 1
STARTING_S = 60.0


def main() -> None:
    """Run and print."""
    quick = is_quick(__doc__)
    rows, turns, seconds = (QUICK_ROWS, QUICK_TURNS, QUICK_SECONDS) if quick else (ROWS, TURNS, SECONDS)
    with tempfile.TemporaryDirectory() as name, Contestant("benchmarks.loops.refit") as refit:
        folder = Path(name)
        refit.ask("prepare", data_dir=name, rows=rows)
        refit.ask("yield_to_others")
        fit = refit.ask("fit", data_dir=name, rows=rows)
        say(f"one retrain: {fit['seconds']:.1f} s, {fit['cpu_seconds']:.1f} s of them computing; {fit['winner']}")
        p99 = _turns(folder, refit, rows, turns, seconds)
    ratio = median(p99["retraining"]) / median(p99["alone"])
    figures = {
        "seconds": rounded(fit["seconds"]),
        "cpu_seconds": rounded(fit["cpu_seconds"]),
        "peak_rss_mb": rounded(fit["peak_rss_mb"]),
        "rows": rows,
        "losses": {name: rounded(loss) for name, loss in fit["losses"].items()},
        "serving_p99_ratio": rounded(ratio),
        "p99_ms": {who: rounded(1000 * median(taken)) for who, taken in p99.items()},
        "per_second": PER_SECOND,
        "turns": turns,
        "environment": environment(libraries=("scikit-learn", "optuna", "numpy", "river")),
    }
    table(
        f"a retrain on {rows:,} rows",
        ("seconds", "CPU s", "peak MB", "p99 alone ms", "p99 retraining ms", "ratio"),
        [(fit["seconds"], fit["cpu_seconds"], fit["peak_rss_mb"], *(1000 * median(p99[who]) for who in p99), ratio)],
    )
    finish(figures)


def _turns(folder: Path, refit: Contestant, rows: int, turns: int, seconds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {"alone": [], "retraining": []}
    with _serving(folder) as address:
        rows_asked = [features for features, _ in drawn(1000)]
        _latencies(address, rows_asked, 1)
        # Its clock goes on while it is stopped, so it has to last for all turns.
        refit.tell("fit_on_and_on", data_dir=str(folder), rows=rows, seconds=2 * turns * (seconds + 1.0))
        try:
            for number in range(turns):
                for who in ("alone", "retraining") if number % 2 == 0 else ("retraining", "alone"):
                    os.kill(refit.pid, signal.SIGSTOP if who == "alone" else signal.SIGCONT)
                    taken[who].append(
                        percentile(_latencies(address, rows_asked, seconds)[PER_SECOND * LEFT_OUT_S :], 99)
                    )
                    say(f"{who}: p99 {1000 * taken[who][-1]:.1f} ms")
        finally:
            os.kill(refit.pid, signal.SIGCONT)
    refit.answer()
    return taken


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """``penstock run serving`` on the installation in ``folder``; its host and port."""
    spec = folder / "wide.py"
    spec.write_text("from benchmarks.loops.refit import PIPELINE as PIPELINE\n")
    command = [sys.executable, "-m", "penstock", "--pipeline", str(spec), "--data-dir", str(folder), "run", "serving"]
    with (folder / "serving.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=os.environ | {"PENSTOCK_PORT": "0", "PYTHONPATH": str(ROOT)},
        )
        try:
            address, deadline_s = folder / "serving.url", time.monotonic() + STARTING_S
            while not address.exists() or not address.read_text().endswith("\n"):
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError((folder / "serving.log").read_text()[-4000:])
                time.sleep(0.05)
            yield urlsplit(address.read_text().strip()).netloc
        finally:
            process.terminate()
            process.wait(20)


def _latencies(address: str, rows: list[Features], seconds: int) -> list[float]:
    """Ask on schedule over a few connections; seconds from each scheduled moment to its answer, in order."""
    found = [0.0] * (PER_SECOND * seconds)
    failures: list[str] = []
    began = time.perf_counter() + 0.05

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection(address, timeout=30)
        for number in range(client, len(found), CLIENTS):
            due = began + number / PER_SECOND
            while (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            asked = msgspec.json.encode({"id": f"{began}-{number}", "features": rows[number % len(rows)]})
            connection.request("POST", "/v1/predict", asked, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                failures.append(said.decode(errors="replace"))
            found[number] = time.perf_counter() - due
        connection.close()

    threads = [threading.Thread(target=ask, args=(client,), daemon=True) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{len(failures)} requests failed: {failures[0]}")
    return found


if __name__ == "__main__":
    main()
