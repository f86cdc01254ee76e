"""A round with the demo as people start it: its supervisor and producer are hurt too, and goes on by ``--resume``."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from penstock.spec import load_pipeline
from producers.agrawal import credit_stream
from producers.schedule import ROW_MS, StreamRow
from tests.chaos.checker import faultless, verdict
from tests.chaos.demo_faults import drawn, kill_child, kill_tree
from tests.chaos.demo_scene import DemoScene
from tests.chaos.random_round import nothing
from tests.chaos.scene import CREDIT
from tests.chaos.workload import Sent

#: Examples between two faults, on average.
STRIDE = 400
#: Examples after the last fault: what it broke shows.
TAIL = 800
POLL_S = 0.1
LABEL_DELAY_MS = 300 * ROW_MS


def play(seed: int, kills: int) -> dict[str, Any]:
    """One round: a demo of its own, ``kills`` faults, and the verdict."""
    rng = random.Random(seed)
    events = STRIDE * kills + TAIL
    folder = Path(tempfile.mkdtemp(prefix="penstock-chaos-demo-"))
    began = time.monotonic()
    faults: list[dict[str, Any]] = []
    scene = DemoScene(folder, events, seed)
    problem, found = "", nothing()
    try:
        _strike(scene, rng, kills, faults, began)
        while not scene.over():
            time.sleep(POLL_S)
        found = verdict(scene.log.everything(), _sent(events, seed), load_pipeline(CREDIT), scene.data)
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


def _sent(events: int, seed: int) -> list[Sent]:
    """What the demo's producer sends."""
    rows, _ = credit_stream(events, seed)
    return [
        sent
        for row in rows
        for sent in (
            Sent("requests", row.id.encode(), row.request),
            Sent("labels", row.id.encode(), _known(row)),
        )
    ]


def _known(row: StreamRow) -> bytes:
    """A row's label, with the time at which it becomes known."""
    label = row.label or b""
    return label[:-1] + b',"event_time_ms":%d}' % (row.event_time_ms + LABEL_DELAY_MS)


def _strike(scene: DemoScene, rng: random.Random, kills: int, faults: list[dict[str, Any]], began: float) -> None:
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
