"""Rows 10 to 13: what happens to the broker and to the network before it. On Kafka only."""

from __future__ import annotations

import random
import signal
import time

from tests.chaos.faults import Told
from tests.chaos.logs import Kafka
from tests.chaos.scene import Scene

TIMES = 10
#: What the processes may take, after the broker's return, to write again.
RESUME_S = 20.0
SLACK_S = 40.0
AWAY_S = 6.0
#: Longer than the delivery timeout (120 s): what a producer holds then is given up, and the producer with it.
LONG_AWAY_S = 130.0
#: What a process may grow by while its broker is away.
GROWTH_MB = 200.0


def row_10(scene: Scene, rng: random.Random, times: int = TIMES) -> Told:
    """The broker ends, politely and not, again and again; the checker looks at ids and order."""
    log = _kafka(scene)
    for number in range(times):
        log.broker.kill(signal.SIGTERM if number % 2 else signal.SIGKILL)
        log.broker.start()
        time.sleep(rng.uniform(0.5, 3.0))
    return {"times": times}


def row_11(scene: Scene, rng: random.Random) -> Told:
    """The broker is killed while stages commit; after its return they go on, or end and are started again."""
    log = _kafka(scene)
    ends = {worker.name: len(worker.exits) for worker in scene.workers.values()}
    log.broker.kill()
    time.sleep(AWAY_S)
    log.broker.start()
    back_s, before = time.monotonic(), scene.count("predictions")
    scene.until(lambda: scene.count("predictions") > before, "scoring goes on", RESUME_S + SLACK_S)
    ended = {worker.name: worker.exits[ends[worker.name] :] for worker in scene.workers.values()}
    return {
        "resumed_s": round(time.monotonic() - back_s, 1),
        "ended": {name: how for name, how in ended.items() if how},
    }


def row_12(scene: Scene, rng: random.Random) -> Told:
    """An outage longer than the delivery timeout: memory stays bounded, and all goes on afterwards."""
    log = _kafka(scene)
    before = {worker.name: resident_mb(worker.pid) for worker in scene.workers.values()}
    log.broker.kill()
    began, peak = time.monotonic(), dict(before)
    while time.monotonic() - began < LONG_AWAY_S:
        for worker in scene.workers.values():
            peak[worker.name] = max(peak[worker.name], resident_mb(worker.pid))
        time.sleep(1.0)
    log.broker.start()
    seen = scene.count("predictions")
    scene.until(lambda: scene.count("predictions") > seen, "scoring goes on", RESUME_S + SLACK_S)
    growth = {name: round(peak[name] - before[name], 1) for name in peak if before[name]}
    assert max(growth.values()) < GROWTH_MB, f"memory grew: {growth}"
    return {"away_s": LONG_AWAY_S, "growth_mb": growth}


def resident_mb(pid: int | None) -> float:
    """Resident memory of a process (Linux); 0 where it is not there."""
    try:
        with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 - a path would be built in vain each second
            return int(file.read().split()[1]) * 4096 / 1e6
    except OSError:
        return 0.0


def row_13(scene: Scene, rng: random.Random) -> Told:
    """Latency, one way only, resets: in turn, for the process behind the proxy."""
    weather = _kafka(scene).proxy.weather
    resets = 0
    for how in ("latency", "requests", "answers", "resets"):
        weather.latency_s = 0.3 if how == "latency" else 0.0
        weather.stall_requests, weather.stall_answers = how == "requests", how == "answers"
        lasts_s = rng.uniform(4.0, 12.0)
        began = time.monotonic()
        while time.monotonic() - began < lasts_s:
            resets += _kafka(scene).proxy.reset() if how == "resets" else 0
            time.sleep(0.5)
    weather.latency_s, weather.stall_requests, weather.stall_answers = 0.0, False, False
    return {"connections_reset": resets}


def _kafka(scene: Scene) -> Kafka:
    assert isinstance(scene.log, Kafka), "this row needs a broker"
    return scene.log
