"""The short form of the chaos suite: one scene per log suffers row after row, and one check is made at the end.

The whole suite is ``python -m tests.chaos`` (see ``tests/chaos/README.md``).
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.broker import jars
from tests.chaos.checker import faultless, verdict
from tests.chaos.faults import PROXIED
from tests.chaos.logs import ChaosLog, Embedded, Kafka
from tests.chaos.rows_broker import row_11
from tests.chaos.rows_input import row_16, row_17, row_18
from tests.chaos.rows_processes import row_1, row_2, row_3, row_4, row_7
from tests.chaos.scene import SHORT, Scene
from tests.chaos.workload import workload
from tests.conftest import no_kafka

pytestmark = pytest.mark.system

SEED = 20
PER_S = 50.0
#: More than can be sent meanwhile.
REQUESTS = 8000
FIRST_EXAMPLES = 10


def suffer(scene: Scene, rows) -> None:
    """Open the scene, play the rows while upstream sends, let it come to rest, and check everything."""
    rng = random.Random(SEED)
    try:
        if isinstance(scene.log, Kafka):
            scene.workers[PROXIED] = scene.worker(PROXIED, SHORT.workers[PROXIED], scene.log.proxied)
        scene.open()
        scene.send_along(workload(SEED, REQUESTS), PER_S)
        scene.reaches("examples", FIRST_EXAMPLES)
        told = {}
        for row in rows:
            began = time.monotonic()
            told[row.__name__] = {**row(scene, rng), "seconds": round(time.monotonic() - began, 1)}
            print(row.__name__, told[row.__name__])  # shown where the test fails
        scene.enough()
        print("drained within", scene.drain())
        scene.rest()
        found = verdict(scene.log.everything(), scene.sent, scene.pipeline, scene.data)
    finally:
        scene.end()
    assert found["differences"] == [], told
    assert faultless(found), found
    assert found["dead_letters"] > 10
    assert found["examples"] > 100


def scene_on(folder: Path, log: ChaosLog) -> Scene:
    return Scene(folder, log, "short", SHORT)


def row_18_truncated(scene: Scene, rng: random.Random):
    return row_18(scene, rng, ("truncated",))


def row_18_flipped_deleted(scene: Scene, rng: random.Random):
    return row_18(scene, rng, ("flipped", "deleted"))


def test_on_kafka_rows_1_to_4_7_11_and_16_to_18(tmp_path):
    lacking = jars.missing()
    if lacking is not None:
        no_kafka(f"this test kills its broker: {lacking}")
    rows = (row_16, row_1, row_2, row_3, row_7, row_18_truncated, row_4, row_11, row_17)
    suffer(scene_on(tmp_path, Kafka(tmp_path / "broker", "short")), rows)


def test_on_the_embedded_log_rows_1_to_3_7_and_16_to_18(tmp_path):
    rows = (row_16, row_1, row_2, row_3, row_7, row_18_flipped_deleted, row_17)
    suffer(scene_on(tmp_path, Embedded(tmp_path / "data", "short")), rows)
