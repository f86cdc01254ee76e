"""The faults that a running scene suffers: each does its harm and leaves everything running again.

Every fault belongs to a row of the table in ``README.md``; `CATALOGUE` says to which, on which logs it is possible, and
how often it is drawn.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from penstock.testing.kill_points import POINTS
from tests.chaos.logs import Kafka
from tests.chaos.scene import SESSION_S, TRANSACTION_S, Scene
from tests.chaos.worker import Worker

RECOVERY_S = 90.0
#: A stage that has nothing to do does not come to its kill point.
POINT_S = 15.0
STATEFUL = ("learner", "joiner", "monitor", "incidents")

Told: TypeAlias = dict[str, Any]


class Fault(NamedTuple):
    """``row`` of the table of faults; ``weight`` is how often it is drawn, against the others."""

    row: int
    name: str
    strike: Callable[[Scene, random.Random], Told]
    weight: int
    logs: tuple[str, ...] = ("embedded", "kafka")


def workers_of(scene: Scene, *roles: str) -> list[Worker]:
    """The processes that play any of ``roles``."""
    return [worker for worker in scene.workers.values() if set(worker.roles) & set(roles)]


def kill(scene: Scene, rng: random.Random, *roles: str) -> Told:
    """SIGKILL to one process (of a role)."""
    worker = rng.choice(workers_of(scene, *roles) if roles else list(scene.workers.values()))
    pid = worker.pid
    worker.kill()
    worker.replaced(pid, RECOVERY_S)
    return {"worker": worker.name, "was_there": pid is not None}


def kill_everything(scene: Scene, rng: random.Random) -> Told:
    """SIGKILL to all processes at once, as a power cut of their machine."""
    pids = [(worker, worker.pid) for worker in scene.workers.values()]
    for worker, _ in pids:
        worker.kill()
    for worker, pid in pids:
        worker.replaced(pid, RECOVERY_S)
    return {"workers": len(pids)}


def die_at(scene: Scene, rng: random.Random, stage: str, point: str, nth: int, within_s: float = POINT_S) -> Told:
    """A process is killed, and its successor dies inside a step of ``stage`` (see `POINTS`), ``within_s`` of it."""
    worker = rng.choice(workers_of(scene, stage))
    worker.lives.append({"PENSTOCK_KILL_AT": f"{stage}:{point}:{nth}"})
    told = {"worker": worker.name, "at": f"{stage}:{point}:{nth}"}
    pid = worker.pid
    worker.kill()
    worker.replaced(pid, RECOVERY_S)
    doomed, died = worker.pid, False
    for condition, deadline_s in ((worker.started, RECOVERY_S), (lambda: False, within_s)):
        began = time.monotonic()
        while not died and not condition() and time.monotonic() - began < deadline_s:
            died = worker.pid != doomed
            time.sleep(0.05)
    if not died:
        worker.kill()
    worker.replaced(doomed, RECOVERY_S)
    return {**told, "died": died}


def in_mid_batch(scene: Scene, rng: random.Random) -> Told:
    """Row 1."""
    return die_at(scene, rng, rng.choice((*STATEFUL, "scorer", "learner", "learner")), "mid_batch", rng.randint(1, 4))


def around_a_checkpoint(scene: Scene, rng: random.Random) -> Told:
    """Row 2: before it, and between it and the commit."""
    return die_at(scene, rng, rng.choice(STATEFUL), rng.choice([p for p in POINTS if "checkpoint" in p]), 1)


def after_a_commit(scene: Scene, rng: random.Random) -> Told:
    """Row 3: committed, and nobody knows."""
    return die_at(scene, rng, rng.choice((*STATEFUL, "scorer")), "after_commit", rng.randint(1, 4))


def while_the_commit_is_under_way(scene: Scene, rng: random.Random) -> Told:
    """Row 3, on Kafka: the broker has the commit, and the answer never arrives."""
    log = scene.log
    assert isinstance(log, Kafka)
    worker = scene.workers[PROXIED]
    pid, struck = worker.pid, threading.Event()

    def strike() -> None:
        log.proxy.weather.stall_answers = True
        log.proxy.weather.on_commit = None
        worker.kill()
        struck.set()

    log.proxy.weather.on_commit = strike
    died = struck.wait(POINT_S)
    log.proxy.weather.on_commit = None
    log.proxy.weather.stall_answers = False
    if died:
        worker.replaced(pid, RECOVERY_S)
    return {"worker": worker.name, "died": died}


#: The process whose connections go through the proxy.
PROXIED = "learner-b"


def pause(scene: Scene, rng: random.Random) -> Told:
    """Row 4: SIGSTOP beyond session and transaction timeout, so that others take over, then SIGCONT."""
    worker = rng.choice(list(scene.workers.values()))
    pause_s = max(SESSION_S, TRANSACTION_S) + rng.uniform(1.0, 8.0)
    was_there = worker.signal(signal.SIGSTOP)
    time.sleep(pause_s)
    worker.signal(signal.SIGCONT)
    return {"worker": worker.name, "was_there": was_there, "pause_s": round(pause_s, 1)}


def blink(scene: Scene, rng: random.Random) -> Told:
    """A pause that nobody should mind."""
    worker = rng.choice(list(scene.workers.values()))
    pause_s = rng.uniform(0.5, SESSION_S / 2)
    worker.signal(signal.SIGSTOP)
    time.sleep(pause_s)
    worker.signal(signal.SIGCONT)
    return {"worker": worker.name, "pause_s": round(pause_s, 1)}


def twin(scene: Scene, rng: random.Random) -> Told:
    """Row 6: another process of the same name, beside the first."""
    worker = rng.choice(list(scene.workers.values()))
    other = scene.worker(f"{worker.name}-twin", worker.roles, **worker.environment)
    other.begin()
    began = time.monotonic()
    while time.monotonic() - began < rng.uniform(4.0, 9.0):
        other.tend()
        time.sleep(0.1)
    other.let_go()
    return {"worker": worker.name, "twin_ended": other.exits}


def rolling_restart(scene: Scene, rng: random.Random) -> Told:
    """Row 8: all processes of a role end in good order, one after the other."""
    role = rng.choice(("scorer", "learner"))
    for worker in workers_of(scene, role):
        pid = worker.pid
        worker.signal(signal.SIGTERM)
        worker.replaced(pid, RECOVERY_S)
    return {"role": role}


def guests(scene: Scene, rng: random.Random) -> Told:
    """Row 9: further members come and go, politely or not."""
    role = rng.choice(("scorer", "learner", "joiner", "monitor"))
    ways = []
    for number in range(2):
        guest = scene.worker(f"guest-{number}", (role,))
        guest.begin()
        time.sleep(rng.uniform(2.5, 5.0))
        ways.append("killed" if rng.random() < 0.5 else "stopped")
        if ways[-1] == "killed":
            guest.let_go()
        else:
            guest.stop()
    return {"role": role, "ways": ways}


def broker_restart(scene: Scene, rng: random.Random) -> Told:
    """Rows 10 and 11: the broker ends, in good order or not, and comes back after a while."""
    log = scene.log
    assert isinstance(log, Kafka)
    number, away_s = rng.choice((signal.SIGTERM, signal.SIGKILL)), rng.choice((0.0, rng.uniform(1.0, 8.0)))
    log.broker.kill(number)
    time.sleep(away_s)
    log.broker.start()
    return {"signal": number.name, "away_s": round(away_s, 1)}


def bad_weather(scene: Scene, rng: random.Random) -> Told:
    """Row 13: a slow network, one that passes one way only, or resets, for one process."""
    log = scene.log
    assert isinstance(log, Kafka)
    how = rng.choice(("latency", "requests stalled", "answers stalled", "resets", "refused"))
    weather, lasts_s = log.proxy.weather, rng.uniform(3.0, 12.0)
    weather.latency_s = 0.3 if how == "latency" else 0.0
    weather.stall_requests, weather.stall_answers = how == "requests stalled", how == "answers stalled"
    weather.refuse = how == "refused"
    began = time.monotonic()
    while time.monotonic() - began < lasts_s:
        if how in ("resets", "refused"):
            log.proxy.reset()
        time.sleep(rng.uniform(0.2, 1.0))
    weather.latency_s, weather.stall_requests, weather.stall_answers, weather.refuse = 0.0, False, False, False
    return {"how": how, "lasts_s": round(lasts_s, 1)}


def damaged_checkpoint(scene: Scene, rng: random.Random) -> Told:
    """Row 18: a process is killed, checkpoints of one of its stages are spoilt, and it starts again."""
    how = rng.choice(("truncated", "flipped", "emptied", "deleted", "all deleted"))
    return damaged(scene, rng, rng.choice(STATEFUL), how)


def damaged(scene: Scene, rng: random.Random, stage: str, how: str) -> Told:
    """The same, for one stage and one way."""
    victims = workers_of(scene, stage)
    for worker in victims:
        worker.let_go()
    folder = scene.data / scene.pipeline.name / "checkpoints" / stage
    spoilt = 0
    for partition in sorted(folder.glob("*")):
        found = sorted(partition.glob("*.checkpoint"), reverse=True)
        for path in found if how == "all deleted" else found[:1]:
            spoil(path, how, rng)
            spoilt += 1
    for worker in victims:
        worker.begin()
    return {"stage": stage, "how": how, "checkpoints": spoilt}


def spoil(path: Path, how: str, rng: random.Random) -> None:
    """Damage a file."""
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: rng.randrange(len(data))])
    elif how == "flipped":
        place = rng.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
    elif how == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()


KAFKA = ("kafka",)
CATALOGUE: tuple[Fault, ...] = (
    Fault(1, "dies in mid-batch", in_mid_batch, 3),
    Fault(2, "dies around a checkpoint", around_a_checkpoint, 3),
    Fault(3, "dies after a commit", after_a_commit, 2),
    Fault(3, "dies while its commit is under way", while_the_commit_is_under_way, 2, KAFKA),
    Fault(4, "pause beyond the timeouts", pause, 2),
    Fault(5, "short pause", blink, 1),
    Fault(6, "a twin", twin, 1),
    Fault(7, "kill", kill, 4),
    Fault(7, "kill everything", kill_everything, 2),
    Fault(8, "rolling restart", rolling_restart, 1),
    Fault(9, "guests", guests, 1),
    Fault(11, "broker restart", broker_restart, 2, KAFKA),
    Fault(13, "bad weather", bad_weather, 2, KAFKA),
    Fault(18, "damaged checkpoints", damaged_checkpoint, 2),
)


def applicable(log: str, rows: frozenset[int]) -> list[Fault]:
    """The faults of ``rows`` (all, where it is empty) that a log can suffer."""
    return [fault for fault in CATALOGUE if log in fault.logs and (not rows or fault.row in rows)]


def drawn(rng: random.Random, faults: list[Fault]) -> Fault:
    """A fault by its weight."""
    (fault,) = rng.choices(faults, [one.weight for one in faults])
    return fault
