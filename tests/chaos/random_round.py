"""A round of random faults: a scene of its own, a few faults while upstream sends, rest, and the verdict."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.checker import faultless, verdict
from tests.chaos.faults import PROXIED, applicable, drawn
from tests.chaos.logs import ChaosLog, Embedded, Kafka
from tests.chaos.scene import FULL, Scene
from tests.chaos.workload import workload

NAME = "chaos"
#: Records sent a second: requests, labels and what else there is. They never stop while faults strike.
PER_S = 60.0
#: More than can be sent meanwhile.
REQUESTS_PER_FAULT = 900


#: Everything runs, and learns, before the first fault; and goes on for a while after the last one.
FIRST_EXAMPLES, AFTER_S = 20, 3.0


def opened_log(name: str, folder: Path, pipeline: str = NAME) -> ChaosLog:
    """The log that a scene in ``folder`` is played on."""
    return Kafka(folder / "broker", pipeline) if name == "kafka" else Embedded(folder / "data", pipeline)


def play(log_name: str, seed: int, kills: int, rows: frozenset[int]) -> dict[str, Any]:
    """One round: ``kills`` faults of ``rows`` and the verdict. Its folder is kept where a promise was broken."""
    rng, began = random.Random(seed), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="penstock-chaos-"))
    told: list[dict[str, Any]] = []
    problem, found = "", nothing()
    scene = Scene(folder, opened_log(log_name, folder), NAME, FULL)
    try:
        if isinstance(scene.log, Kafka):
            scene.workers[PROXIED] = scene.worker(PROXIED, FULL.workers[PROXIED], scene.log.proxied)
        scene.open()
        _strike(scene, rng, seed, kills, rows, told)
        drained_s = round(scene.drain(), 1)
        scene.rest()
        found = {**verdict(scene.log.everything(), scene.sent, scene.pipeline, scene.data), "drained_s": drained_s}
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
    return {**found, "faultless": good, "problem": problem, "seed": seed, "seconds": seconds, "faults": told}


def _strike(
    scene: Scene, rng: random.Random, seed: int, kills: int, rows: frozenset[int], told: list[dict[str, Any]]
) -> None:
    faults, began = applicable(scene.log.name, rows), time.monotonic()
    scene.send_along(workload(seed, REQUESTS_PER_FAULT * kills), PER_S)
    scene.reaches("examples", FIRST_EXAMPLES)
    for _ in range(kills):
        time.sleep(rng.uniform(0.0, 3.0))
        fault = drawn(rng, faults)
        entry = {"row": fault.row, "fault": fault.name, "at_s": round(time.monotonic() - began, 1)}
        told.append({**entry, **fault.strike(scene, rng)})
        sys.stderr.write(f"chaos: {json.dumps(told[-1])}\n")
    time.sleep(AFTER_S)
    scene.enough()


def nothing() -> dict[str, Any]:
    """The verdict on a round that did not come to its end."""
    return {"requests": 0, "missing": 1, "duplicates": 0, "double_learned": 0, "bit_identical": False}
