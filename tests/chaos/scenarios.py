"""The rows of the table of faults, each with its own scenario; ``README.md`` says where the others are checked."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tests.chaos import rows_broker, rows_input, rows_processes, rows_state
from tests.chaos.checker import verdict
from tests.chaos.faults import PROXIED, Told
from tests.chaos.logs import Kafka
from tests.chaos.random_round import opened_log
from tests.chaos.scene import FULL, SHORT, Cast, Scene
from tests.chaos.workload import workload

BOTH, KAFKA, EMBEDDED = ("embedded", "kafka"), ("kafka",), ("embedded",)
NAME = "rows"
PER_S = 40.0
FIRST_EXAMPLES = 10
#: More than can be sent meanwhile.
REQUESTS = 30_000
#: What a plain-text broker of default settings takes, less what dead letters add.
LARGE_BYTES = {"kafka": 900_000, "embedded": 10_000_000}


class Scenario(NamedTuple):
    """A row. ``play`` hurts an open scene while upstream sends."""

    row: int
    play: Callable[[Scene, random.Random], Told]
    logs: tuple[str, ...] = BOTH


def row_16(scene: Scene, rng: random.Random) -> Told:
    """As large a record as the log takes."""
    return rows_input.row_16(scene, rng, LARGE_BYTES[scene.log.name])


#: Rows that are played one after the other on one scene, with one check at the end.
TOGETHER: tuple[tuple[Scenario, ...], ...] = (
    (
        Scenario(1, rows_processes.row_1),
        Scenario(2, rows_processes.row_2),
        Scenario(3, rows_processes.row_3),
        Scenario(4, rows_processes.row_4),
        Scenario(6, rows_processes.row_6),
        Scenario(7, rows_processes.row_7),
        Scenario(8, rows_processes.row_8),
        Scenario(16, row_16),
        Scenario(18, rows_input.row_18),
        Scenario(17, rows_input.row_17),
    ),
    (Scenario(9, rows_processes.row_9),),
    (
        Scenario(10, rows_broker.row_10, KAFKA),
        Scenario(11, rows_broker.row_11, KAFKA),
        Scenario(13, rows_broker.row_13, KAFKA),
        Scenario(12, rows_broker.row_12, KAFKA),
    ),
)
#: Rows that open their scene themselves.
ALONE: tuple[Scenario, ...] = (
    Scenario(14, rows_state.row_14),
    Scenario(15, rows_state.row_15),
    Scenario(19, rows_state.row_19),
    Scenario(20, rows_state.row_20),
)
#: After these the record is not whole, on purpose: the row has checks of its own.
UNCHECKED = {15}
Result: TypeAlias = dict[str, Any]


def play_all(log: str, seed: int, rows: frozenset[int]) -> list[Result]:
    """Play the rows (all, where ``rows`` is empty) that ``log`` can suffer."""

    def wanted(group: Iterable[Scenario]) -> list[Scenario]:
        return [one for one in group if log in one.logs and (not rows or one.row in rows)]

    results: list[Result] = []
    for group in TOGETHER:
        if wanted(group):
            results += _on_a_scene(log, seed, FULL, wanted(group), _while_upstream_sends)
    for one in wanted(ALONE):
        results += _on_a_scene(log, seed, SHORT, [one], _by_itself)
    if log in EMBEDDED and (not rows or 21 in rows):
        results += [_row_21(seed)]
    return results


def _on_a_scene(
    log: str,
    seed: int,
    cast: Cast,
    scenarios: Sequence[Scenario],
    play: Callable[[Scene, Sequence[Scenario], random.Random, list[Result]], None],
) -> list[Result]:
    folder = Path(tempfile.mkdtemp(prefix="penstock-rows-"))
    scene = Scene(folder, opened_log(log, folder, NAME), NAME, cast)
    if isinstance(scene.log, Kafka):
        scene.workers[PROXIED] = scene.worker(PROXIED, cast.workers[PROXIED], scene.log.proxied)
    results: list[Result] = []
    problem = ""
    try:
        play(scene, scenarios, random.Random(seed), results)
        scene.rest()
        if not UNCHECKED & {one.row for one in scenarios}:
            found = verdict(scene.log.everything(), scene.sent, scene.pipeline, scene.data)
            problem = "; ".join(found["differences"])
    except AssertionError as error:  # a broken promise, or a wait that took too long
        problem = str(error) or repr(error)
    finally:
        scene.end()
    if problem:
        sys.stderr.write(f"chaos: kept {folder}\n")
        played = {one["row"] for one in results}
        results += [{"row": one.row} for one in scenarios if one.row not in played][:1]
    else:
        shutil.rmtree(folder)
    return [{**one, "faultless": not problem, "problem": problem} for one in results]


def _while_upstream_sends(
    scene: Scene, scenarios: Sequence[Scenario], rng: random.Random, results: list[Result]
) -> None:
    scene.open()
    scene.send_along(workload(rng.randrange(10**6), REQUESTS), PER_S)
    scene.reaches("examples", FIRST_EXAMPLES)
    for one in scenarios:
        _play(scene, one, rng, results)
    scene.enough()
    scene.drain()


def _by_itself(scene: Scene, scenarios: Sequence[Scenario], rng: random.Random, results: list[Result]) -> None:
    for one in scenarios:
        _play(scene, one, rng, results)


def _play(scene: Scene, one: Scenario, rng: random.Random, results: list[Result]) -> None:
    began = time.monotonic()
    told = one.play(scene, rng)
    results.append({"row": one.row, "seconds": round(time.monotonic() - began, 1), **told})
    sys.stderr.write(f"chaos: {json.dumps(results[-1])}\n")


def _row_21(seed: int) -> Result:
    began, problem, told = time.monotonic(), "", {}
    with tempfile.TemporaryDirectory(prefix="penstock-row-21-") as folder:
        try:
            told = rows_state.row_21(Path(folder), random.Random(seed))
        except AssertionError as error:
            problem = str(error)
    seconds = round(time.monotonic() - began, 1)
    return {"row": 21, "seconds": seconds, **told, "faultless": not problem, "problem": problem}
