"""Rows 1 to 9: what happens to processes. Each function plays its row on an open scene, while upstream sends."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack

from tests.chaos import faults
from tests.chaos.faults import Told
from tests.chaos.logs import Kafka
from tests.chaos.scene import SESSION_S, TRANSACTION_S, Scene

#: The embedded log's own session timeout, in seconds.
EMBEDDED_SESSION_S = 10.0
#: What a start of the interpreter and a slow machine may add to a measured time, in seconds.
SLACK_S = 40.0
TRIES, POINT_S = 3, 60.0
JOINS = 30
BETWEEN_JOINS_S = 2.0
GUEST_LIVES_S = 8.0
LAG_S = 30.0


def row_1(scene: Scene, rng: random.Random) -> Told:
    """The learner is killed in mid-batch."""
    return _dies(scene, rng, "learner", "mid_batch")


def row_2(scene: Scene, rng: random.Random) -> Told:
    """It is killed between a checkpoint and the commit of its offsets: the orphan must be ignored."""
    return _dies(scene, rng, "learner", "after_checkpoint")


def row_3(scene: Scene, rng: random.Random) -> Told:
    """It is killed after a commit, and (on Kafka) while the broker has the commit and the answer is on its way."""
    told = _dies(scene, rng, "learner", "after_commit")
    if isinstance(scene.log, Kafka):
        told["under way"] = any(faults.while_the_commit_is_under_way(scene, rng)["died"] for _ in range(TRIES))
        assert told["under way"], f"{faults.PROXIED} committed nothing through the proxy"
    return told


def _dies(scene: Scene, rng: random.Random, stage: str, point: str) -> Told:
    """A successor may own no partition for a while: try again until one really dies there."""
    for _ in range(TRIES):
        told = faults.die_at(scene, rng, stage, point, 1, within_s=POINT_S)
        if told["died"]:
            return told
    raise AssertionError(f"no {stage} came to {point} in {TRIES} tries")


def row_4(scene: Scene, rng: random.Random) -> Told:
    """A scorer stands still until others own its partitions, then goes on: what it held is refused, and it knows."""
    timeout_s = max(SESSION_S, TRANSACTION_S) if isinstance(scene.log, Kafka) else EMBEDDED_SESSION_S
    worker = faults.workers_of(scene, "scorer")[0]
    worker.signal(signal.SIGSTOP)
    began = time.monotonic()
    before = scene.count("predictions")
    time.sleep(timeout_s + 3.0)
    scene.until(lambda: scene.count("predictions") > before, "a successor scores", SLACK_S)
    worker.signal(signal.SIGCONT)
    return {"worker": worker.name, "pause_s": round(time.monotonic() - began, 1)}


def row_6(scene: Scene, rng: random.Random) -> Told:
    """A second process of the same name: whoever came last is the owner, the other is fenced."""
    return faults.twin(scene, rng)


def row_7(scene: Scene, rng: random.Random) -> Told:
    """A scorer is killed in mid-batch; its successor has its name and need not wait for any timeout."""
    told = _dies(scene, rng, "scorer", "mid_batch")
    before, began = scene.count("predictions"), time.monotonic()
    scene.until(lambda: scene.count("predictions") > before, "scoring goes on", TRANSACTION_S + 10.0 + SLACK_S)
    return {**told, "next_prediction_s": round(time.monotonic() - began, 1)}


def row_8(scene: Scene, rng: random.Random) -> Told:
    """Three scorers are restarted in good order, one after the other: the lag stays below 30 s."""
    with ExitStack() as gone:
        while len(faults.workers_of(scene, "scorer")) < 3:
            name = f"scorer-{len(faults.workers_of(scene, 'scorer'))}"
            scene.workers[name] = scene.worker(name, ("scorer",))
            scene.workers[name].begin()
            gone.callback(lambda name=name: scene.workers.pop(name).stop())
        longest_s = 0.0
        for worker in faults.workers_of(scene, "scorer"):
            pid = worker.pid
            worker.signal(signal.SIGTERM)
            longest_s = max(longest_s, _caught_up_s(scene))
            worker.replaced(pid, faults.RECOVERY_S)
    assert longest_s < LAG_S, f"a request waited {longest_s:.0f} s"
    return {"longest_lag_s": round(longest_s, 1)}


def _caught_up_s(scene: Scene) -> float:
    """How long it takes until what is requested now is scored."""
    now, began = scene.count("requests"), time.monotonic()
    scene.until(lambda: scene.count("predictions") >= now - _poisoned(scene), "what was asked is scored", 2 * LAG_S)
    return time.monotonic() - began


def _poisoned(scene: Scene) -> int:
    return sum(one.poison and one.topic == "requests" for one in list(scene.sent))


def row_9(scene: Scene, rng: random.Random, joins: int = JOINS) -> Told:
    """Members come and go, one change every 2 s; half of them are killed. The lag drains."""
    guests = []
    for number in range(joins):
        guest = scene.worker(f"guest-{number}", (rng.choice(("scorer", "learner")),))
        guest.begin()
        guests.append((time.monotonic(), guest))
        time.sleep(BETWEEN_JOINS_S)
        for started_s, other in list(guests):
            if time.monotonic() - started_s > GUEST_LIVES_S:
                guests.remove((started_s, other))
                other.let_go() if rng.random() < 0.5 else other.stop()
    for _, guest in guests:
        guest.let_go()
    return {"joins_and_leaves": 2 * joins}
