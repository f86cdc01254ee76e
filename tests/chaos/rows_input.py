"""Rows 16 to 18: poison, unruly labels, damaged checkpoints. Played on an open scene, while upstream sends."""

from __future__ import annotations

import random

from tests.chaos import faults
from tests.chaos.faults import Told
from tests.chaos.scene import Scene
from tests.chaos.workload import Shares, large_poison, workload

ROUGH = Shares(
    repeated_request=0.1,
    repeated_label=0.1,
    revised_label=0.1,
    orphan=0.1,
    early=0.1,
    too_early=0.1,
    late=0.1,
    unlabelled=0.1,
    poison=0.0,
)
POISONED = Shares(poison=0.5)
PATIENCE_S = 90.0
WAYS = ("truncated", "flipped", "deleted")


def row_16(scene: Scene, rng: random.Random, size: int = 900_000) -> Told:
    """Broken JSON, NaN, wrong types and one large record: a dead letter each, and the partition goes on."""
    seed = rng.randrange(10**6, 10**7)
    records = [*workload(seed, 40, POISONED), large_poison(seed, size)]
    scene.send(records)
    return {"poison": sum(one.poison for one in records)}


def row_17(scene: Scene, rng: random.Random, requests: int = 400) -> Told:
    """Late, duplicate, orphan, early and revised labels, many of each, after the ordinary traffic.

    After it, because late labels carry its watermark on: what came then would be late too.
    """
    scene.enough()
    so_far = sum(one.topic == "requests" for one in scene.sent)
    records = workload(rng.randrange(10**6, 10**7), requests, ROUGH, first_row=so_far)
    scene.send(records)
    return {"records": len(records)}


def row_18(scene: Scene, rng: random.Random, ways: tuple[str, ...] = WAYS) -> Told:
    """The newest checkpoint of the learner is damaged in each way: an older one is used."""
    folder = scene.data / scene.pipeline.name / "checkpoints" / "learner"
    spoilt = {}
    for how in ways:
        scene.until(lambda: any(folder.glob("*/*.checkpoint")), "a checkpoint", PATIENCE_S)
        spoilt[how] = faults.damaged(scene, rng, "learner", how)["checkpoints"]
        learners = faults.workers_of(scene, "learner")
        scene.until(lambda learners=learners: all(one.started() for one in learners), "learners start", PATIENCE_S)
    assert all(spoilt.values()), f"there was nothing to damage: {spoilt}"
    return spoilt
