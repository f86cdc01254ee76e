"""The faults of a demo: each does its harm and leaves it running again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from penstock.testing.kill_points import POINTS
from tests.chaos.demo_scene import DemoScene
from tests.chaos.faults import spoil
from tests.chaos.kernel import alive
from tests.system.processes import wait_for

#: One role of each process of a headless demo.
ROLES = ("scorer", "learner", "retrainer")
STAGES = ("scorer", "monitor", "incidents", "joiner", "learner")
#: Longer than the session time-out of the embedded log (10 s): whoever lives takes the stopped one for dead.
PAUSE_S = 12.0
RECOVERY_S = 60.0

Fault = Callable[[DemoScene, random.Random], dict[str, Any]]


def kill_child(scene: DemoScene, rng: random.Random, role: str = "") -> dict[str, Any]:
    """SIGKILL to one process; the supervisor starts it again."""
    role = role or rng.choice(ROLES)
    pid = scene.child(role)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: _replaced(scene, role, pid), f"{role} is started again", RECOVERY_S)
    return {"role": role, "was_there": pid is not None}


def kill_tree(scene: DemoScene, rng: random.Random) -> dict[str, Any]:
    """SIGKILL to everything at once, as a power cut; then ``--resume``."""
    scene.kill_tree()
    scene.resume()
    return {}


def kill_parent(scene: DemoScene, rng: random.Random) -> dict[str, Any]:
    """SIGKILL to the parent alone: the children must stop by themselves."""
    stopped_s = scene.kill_parent()
    scene.resume()
    return {"children_stopped_s": round(stopped_s, 2)}


def kill_parent_and_hurry(scene: DemoScene, rng: random.Random) -> dict[str, Any]:
    """SIGKILL to the parent, and a successor starts at once, beside the old children."""
    os.kill(scene.process.pid, signal.SIGKILL)
    scene.process.wait()
    scene.resume()
    return {}


def pause_child(scene: DemoScene, rng: random.Random) -> dict[str, Any]:
    """SIGSTOP beyond the session time-out, then SIGCONT."""
    role = rng.choice(ROLES)
    pid = scene.child(role)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(PAUSE_S)
            os.kill(pid, signal.SIGCONT)
    return {"role": role, "was_there": pid is not None}


def die_at_a_point(scene: DemoScene, rng: random.Random) -> dict[str, Any]:
    """A process dies inside a step (see `POINTS`); then everything is killed, so that the fault is not repeated."""
    point = rng.choice(POINTS)
    # The scorer has no state; a checkpoint comes every few seconds only.
    stage, most = (rng.choice(STAGES), 6) if point in ("mid_batch", "after_commit") else (rng.choice(STAGES[1:]), 1)
    nth = rng.randint(1, most)
    scene.kill_tree()
    scene.resume(kill_at=f"{stage}:{point}:{nth}")
    wait_for(lambda: scene.child(stage) is not None or scene.process.poll() is not None, f"{stage} starts", RECOVERY_S)
    pid = scene.child(stage)
    deadline = time.monotonic() + 15.0  # a stage that has nothing to do does not get there
    while pid is not None and alive(pid) and scene.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    died = pid is not None and not alive(pid)
    if scene.process.poll() != 0:
        scene.end()
        scene.resume()
    return {"at": f"{stage}:{point}:{nth}", "died": died}


def damage_checkpoint(scene: DemoScene, rng: random.Random) -> dict[str, Any]:
    """Kill everything, spoil checkpoints of one stage, resume."""
    scene.kill_tree()
    stage = rng.choice(("joiner", "learner", "monitor", "incidents"))
    folder = scene.data / "credit" / "checkpoints" / stage / "0"
    found = sorted(folder.glob("*.checkpoint"), reverse=True)
    how = rng.choice(("truncated", "flipped", "emptied", "deleted", "all deleted"))
    for path in found if how == "all deleted" else found[:1]:
        spoil(path, how, rng)
    scene.resume()
    return {"stage": stage, "how": how, "checkpoints": len(found)}


def _replaced(scene: DemoScene, role: str, pid: int) -> bool:
    return scene.process.poll() is not None or scene.child(role) not in (None, pid)


#: How often each is drawn, of 20.
FAULTS: tuple[tuple[str, Fault, int], ...] = (
    ("kill child", kill_child, 6),
    ("kill tree", kill_tree, 4),
    ("kill parent", kill_parent, 2),
    ("kill parent, successor at once", kill_parent_and_hurry, 2),
    ("pause child", pause_child, 1),
    ("die at a point", die_at_a_point, 3),
    ("damage checkpoint", damage_checkpoint, 2),
)


def drawn(rng: random.Random) -> tuple[str, Fault]:
    """A fault by its weight."""
    ((name, fault, _),) = rng.choices(FAULTS, [weight for _, _, weight in FAULTS])
    return name, fault
