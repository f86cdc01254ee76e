"""``python -m tests.chaos``: hurt a running demo at seeded moments, then prove that nothing was lost or doubled.

A run has as many rounds as it needs; a round is a demo with a few faults. Requests, labels, faults and the
number of examples at which each strikes come from the seed; what a fault meets depends on timing.

Exit codes: 0 all promises kept; 1 one was broken (its data directory is kept and named); 3 the log is not there yet.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.checker import faultless, verdict
from tests.chaos.faults import drawn, kill_child, kill_tree
from tests.chaos.scene import Scene

#: Faults and examples of a round: a demo long enough for drift, a retraining and all faults.
FAULTS_PER_ROUND = 10
#: Examples between two faults, on average.
STRIDE = 400
#: Examples after the last fault: what it broke shows.
TAIL = 800
POLL_S = 0.1


def main() -> int:
    """Run, print one line per fault on standard error, and one JSON object on standard output."""
    arguments = _arguments()
    if arguments.log != "embedded":
        sys.stderr.write(f"chaos: the log {arguments.log} is not available yet; use --log embedded\n")
        return 3
    rounds, left = [], arguments.kills
    while left > 0:
        rounds.append(play(arguments.seed * 1000 + len(rounds), min(left, FAULTS_PER_ROUND)))
        left -= len(rounds[-1]["faults"])
        if not (rounds[-1]["faultless"] and rounds[-1]["faults"]):
            break
    total = {name: sum(one[name] for one in rounds) for name in ("requests", "missing", "duplicates", "double_learned")}
    result = {
        **total,
        "bit_identical": all(one["bit_identical"] for one in rounds),
        "kills": sum(len(one["faults"]) for one in rounds),
        "log": arguments.log,
        "seed": arguments.seed,
        "seconds": round(sum(one["seconds"] for one in rounds), 1),
        "rounds": rounds,
    }
    sys.stdout.write(json.dumps(result) + "\n" if arguments.json else _summary(result))
    return 0 if all(one["faultless"] for one in rounds) else 1


def play(seed: int, kills: int) -> dict[str, Any]:
    """One round: a demo of its own, ``kills`` faults, and the verdict."""
    rng = random.Random(seed)
    events = STRIDE * kills + TAIL
    folder = Path(tempfile.mkdtemp(prefix="penstock-chaos-"))
    began = time.monotonic()
    faults: list[dict[str, Any]] = []
    scene = Scene(folder, events, seed)
    problem, found = "", _nothing(events)
    try:
        _strike(scene, rng, kills, faults, began)
        while not scene.over():
            time.sleep(POLL_S)
        found = verdict(scene.data, events)
    except AssertionError as error:  # a broken promise, or a wait that took too long
        problem = str(error)
    finally:
        scene.end()
    good = not problem and faultless(found)
    if good:
        shutil.rmtree(folder)
    else:
        sys.stderr.write(f"chaos: kept {folder}\n")
    seconds = round(time.monotonic() - began, 1)
    return {**found, "faultless": good, "problem": problem, "seed": seed, "seconds": seconds, "faults": faults}


def _strike(scene: Scene, rng: random.Random, kills: int, faults: list[dict[str, Any]], began: float) -> None:
    """Do up to ``kills`` faults, each at a seeded number of examples; one may strike in a fit instead."""
    met: set[str] = set()
    while len(faults) < kills and not scene.over():
        target = STRIDE * len(faults) + rng.randrange(STRIDE)
        name, fault = drawn(rng)
        meets_fit, whole = rng.random() < 0.7, rng.random() < 0.5
        while scene.learned() < target:
            if scene.over():
                return  # the rest is for the next round
            run = scene.fitting()
            if run and run not in met:
                met.add(run)
                if meets_fit:
                    time.sleep(rng.random())
                    name = "kill in a fit"
                    fault = kill_tree if whole else lambda at, chance: kill_child(at, chance, "retrainer")
                    break
            time.sleep(POLL_S)
        entry = {"at_s": round(time.monotonic() - began, 1), "at_example": scene.learned(), "fault": name}
        entry.update(fault(scene, rng))
        faults.append(entry)
        sys.stderr.write(f"chaos: {json.dumps(entry)}\n")


def _nothing(events: int) -> dict[str, Any]:
    """The verdict on a round that did not come to its end."""
    return {"requests": 0, "missing": events, "duplicates": 0, "double_learned": 0, "bit_identical": False}


def _summary(result: dict[str, Any]) -> str:
    names = ("kills", "requests", "missing", "duplicates", "double_learned", "bit_identical", "seconds")
    return ", ".join(f"{name} {result[name]}" for name in names) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="faults in all (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="seed of requests, labels and faults (default 1)")
    parser.add_argument("--log", default="embedded", choices=("embedded", "kafka"), help="which log (default embedded)")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line of standard output")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
