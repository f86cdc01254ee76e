"""A pipeline of several partitions: its online models are served as one, and its evidence is judged as one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from consumers.incidents import Incidents
from consumers.monitor import Monitor
from online.loading import model_loader
from penstock.cli.compose import System, make_loop, read_all
from penstock.clock import Clock, SystemClock, VirtualClock
from penstock.contract import decoder_for
from penstock.events import Drift, Example, ModelRecord, Prediction, Request, encode
from penstock.log.embedded import EmbeddedLog
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Log, Message, TopicPartition
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.runtime.loop import LoopOptions, StageLoop
from penstock.runtime.stage import Input
from penstock.spec import DriftPolicy, Numeric, Pipeline
from penstock.telemetry import Telemetry

PIPELINE = Pipeline(
    name="cards",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=(Numeric("x"), Numeric("z")),
    partitions=4,
)


def prediction(id_: str, x: float, z: float = 0.0) -> Prediction:
    return Prediction(
        id=id_,
        entity=id_,
        event_time_ms=0,
        features={"x": x, "z": z},
        version="online",
        generation=0,
        decision="1",
        score=0.5,
    )


def drain(loop: StageLoop) -> None:
    while loop.step(0.0):
        pass


@pytest.fixture(params=["memory", "embedded"])
def system(request: pytest.FixtureRequest, tmp_path: Path):
    clock: Clock = VirtualClock(1_000) if request.param == "memory" else SystemClock()
    log: Log = MemoryLog(clock) if isinstance(clock, VirtualClock) else EmbeddedLog(tmp_path / "log.db", "cards", clock)
    log.ensure_topics(topic_configs(PIPELINE.partitions))
    artifacts = MemoryArtifacts(Signer(b"a key of enough length"))
    checkpoints, telemetry = MemoryCheckpoints(), Telemetry()
    yield System(PIPELINE, log, artifacts, checkpoints, lambda: EverySnapshot(artifacts), clock, telemetry)
    log.close()


def newest_parts(system: System) -> dict[str, ModelRecord]:
    decode = decoder_for("models", PIPELINE)
    records = [decode(value) for value in read_all(system.log, "models")]
    return {record.slot: record for record in records if isinstance(record, ModelRecord)}


def test_what_four_learners_learned_is_served_as_their_mean(system: System) -> None:
    """Two processes learn two partitions each. The third partition has no example: it is left out."""
    rng = np.random.default_rng(3)
    options = LoopOptions()
    learners = [make_loop("learner", system, f"learner-{n}", options) for n in range(2)]
    for loop in learners:
        loop.step(0.0)
    for partition, rows in ((0, 210), (1, 60), (3, 130)):
        for row in range(rows):
            x = float(rng.normal(partition))
            example = Example(
                id=f"{partition}-{row}",
                prediction=prediction(f"{partition}-{row}", x),
                value=str(int(x > 0)),
                label_time_ms=0,
            )
            system.log.append([Message("examples", b"k", encode(example), partition)])
    for _ in range(3):
        for loop in learners:
            drain(loop)
    assert [[loop.holds(p) for p in range(4)] for loop in learners] == [
        [True, True, False, False],
        [False, False, True, True],
    ]
    parts = newest_parts(system)
    assert {slot: part.snapshot for slot, part in parts.items()} == {"online-0": 200, "online-1": 50, "online-3": 100}

    requests = [Request(id=f"q{n}", features={"x": float(x), "z": 0.0}) for n, x in enumerate(rng.normal(1, 2, 40))]
    system.log.append([Message("requests", r.id.encode(), encode(r), n % 4) for n, r in enumerate(requests)])
    scorer = make_loop("scorer", system, "scorer-0", options)
    drain(scorer)
    decode = decoder_for("predictions", PIPELINE)
    scored = {}
    for partition in range(4):
        first, end = system.log.bounds(TopicPartition("predictions", partition))
        for value in read_all(system.log, "predictions", partition):
            event = decode(value)
            assert isinstance(event, Prediction)
            scored[event.id] = event
        assert end - first == 10
    load = model_loader(PIPELINE)
    models = [load("online", system.artifacts.get(p.uri, p.digest, p.signature)) for p in parts.values()]
    rows = [request.features for request in requests]
    means = np.mean([model.score_many(rows) for model in models], axis=0)
    for request, mean in zip(requests, means, strict=True):
        answer = scored[request.id]
        assert answer.score == pytest.approx(mean, abs=1e-12)
        assert (answer.version, answer.snapshot) == ("online", 350)
    for loop in (*learners, scorer):
        loop.close()


FEATURES = 4
ROWS, SEEDS = 36_000, 3
#: Without a floor of the effect, so that significance alone decides; and a bound that can be seen in so few rows.
NOISY = DriftPolicy(effect_floor=0.0, false_incidents_per_50k=5.0)


def false_incidents(partitions: int, seed: int, shift_at: int | None = None) -> int:
    """Covariate incidents of one stream, dealt to ``partitions``; stationary but for a ``shift_at`` a row."""
    pipeline = Pipeline(
        name="p",
        task="binary",
        target="y",
        classes=("0", "1"),
        features=tuple(Numeric(f"x{n}") for n in range(FEATURES)),
        drift=NOISY,
        partitions=partitions,
    )
    values = np.random.default_rng(seed).normal(size=(ROWS, FEATURES))
    if shift_at is not None:
        values[shift_at:] += 1.0
    monitors = [Monitor(pipeline, number) for number in range(partitions)]
    incidents, offset, opened = Incidents(pipeline), 0, 0
    names = [f"x{n}" for n in range(FEATURES)]
    for row, numbers in enumerate(values.tolist()):
        seen = prediction(str(row), 0.0)
        event = Prediction(
            id=seen.id,
            entity=seen.id,
            event_time_ms=row,
            features=dict(zip(names, numbers, strict=True)),
            version="online",
            generation=0,
            decision="1",
            score=0.5,
        )
        partition = row % partitions
        for output in monitors[partition].process([Input("predictions", partition, row, row, event)]):
            if output.topic == "evidence":
                for drift in incidents.process([Input("evidence", 0, offset, row, output.event)]):
                    opened += isinstance(drift.event, Drift) and drift.event.status == "opened"
                offset += 1
    return opened


@pytest.mark.parametrize("partitions", [1, 12])
def test_more_partitions_give_no_more_false_incidents_than_the_bound(partitions: Literal[1, 12]) -> None:
    found = sum(false_incidents(partitions, seed) for seed in range(SEEDS))
    bound = NOISY.false_incidents_per_50k * SEEDS * ROWS / 50_000
    assert found <= bound, (found, bound)


def test_twelve_partitions_still_find_a_drift() -> None:
    assert false_incidents(12, 0, shift_at=ROWS - 6_000) >= 1
