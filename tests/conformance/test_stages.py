"""Every stage that keeps state, over recorded inputs: however it is cut, restored or killed, it writes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.cli.compose import System, make_loop
from penstock.cli.virtual import run_virtual
from penstock.clock import VirtualClock
from penstock.contract import decoder_for
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Log, Message, Record, TopicPartition
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import DirectoryCheckpoints
from penstock.runtime.loop import LoopOptions
from penstock.runtime.stage import Input
from penstock.spec import Pipeline, load_pipeline
from penstock.telemetry import Telemetry
from penstock.testing.kill_points import KillPoints
from penstock.testing.stage_conformance import check_stage
from penstock.topology import STAGES
from producers.agrawal import credit_stream
from producers.schedule import schedule

ROOT = Path(__file__).parents[2]
ROWS = 1500
SIGNER = Signer(b"a key for tests only")
#: Snapshots are published outside the fold: the learner's bytes of one and the same model may differ.
OUTSIDE_THE_FOLD = ("models",)
#: The scorer and serving keep none; the retrainer's state is the fold of its own output.
STATEFUL = ("joiner", "learner", "monitor", "incidents", "notifier")
#: Learning is what takes time; looks and snapshots come every 100 and 200 examples.
CAP = {"learner": 450}


class Crash(BaseException):
    """Stands for SIGKILL."""


def crash() -> None:
    raise Crash


def test_no_stage_with_state_is_left_out() -> None:
    others = {"scorer", "serving", "retrainer"}
    assert set(STAGES) - others == set(STATEFUL)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(ROOT / "pipelines" / "credit.py")


@pytest.fixture(scope="module")
def recorded(pipeline: Pipeline) -> Log:
    """The log of a whole run."""
    rows, _ = credit_stream(ROWS, 11)
    return run_virtual(pipeline, schedule(rows, pipeline, seed=11), lambda _: None).system.log


def records_of(log: Log, stage: str) -> list[Record]:
    """What the stage reads, by append time and then topic."""
    records = []
    for topic in STAGES[stage].reads:
        first, end = log.bounds(TopicPartition(topic, 0))
        records += log.read(TopicPartition(topic, 0), first, end, end - first)
    return sorted(records, key=lambda record: (record.timestamp_ms, record.topic, record.offset))[: CAP.get(stage)]


def system_over(pipeline: Pipeline, records: list[Record], directory: Path) -> System:
    """A fresh log that holds ``records``, appended when they were."""
    clock = VirtualClock(records[0].timestamp_ms)
    log = MemoryLog(clock, topic_configs(1))
    for record in records:
        clock.advance_to_ms(record.timestamp_ms)
        log.append([Message(record.topic, record.key, record.value, 0)])
    artifacts = MemoryArtifacts(SIGNER)
    return System(
        pipeline,
        log,
        artifacts,
        DirectoryCheckpoints(directory, SIGNER),
        lambda: EverySnapshot(artifacts),
        clock,
        Telemetry(),
    )


def written(system: System, stage: str) -> dict[str, list[bytes]]:
    found = {}
    for topic in set(STAGES[stage].writes) - set(OUTSIDE_THE_FOLD):
        first, end = system.log.bounds(TopicPartition(topic, 0))
        found[topic] = [record.value for record in system.log.read(TopicPartition(topic, 0), first, end, 1_000_000)]
    return found


@pytest.mark.parametrize("stage", STATEFUL)
def test_a_stage_is_a_function_of_its_inputs(stage: str, pipeline: Pipeline, recorded: Log, tmp_path: Path) -> None:
    records = records_of(recorded, stage)
    system = system_over(pipeline, records, tmp_path)
    decoders = {topic: decoder_for(topic, pipeline) for topic in STAGES[stage].reads}
    inputs = [Input(r.topic, r.partition, r.offset, r.timestamp_ms, decoders[r.topic](r.value)) for r in records]
    loop = make_loop(stage, system, "m", LoopOptions())
    check_stage(lambda: loop._recovery.make_stage(0), inputs, ignoring=OUTSIDE_THE_FOLD)


@pytest.mark.parametrize("stage", ["learner", "monitor", "incidents"])
@pytest.mark.parametrize("point", ["after_checkpoint", "after_commit"])
def test_a_stage_that_is_killed_again_and_again_writes_what_one_in_peace_writes(
    stage: str, point: str, pipeline: Pipeline, recorded: Log, tmp_path: Path
) -> None:
    records = records_of(recorded, stage)
    peaceful = system_over(pipeline, records, tmp_path / "peaceful")
    drain(peaceful, stage, LoopOptions(), None)
    killed = system_over(pipeline, records, tmp_path / "killed")
    size = max(1, len(records) // 9)
    options = LoopOptions(max_batch=size, checkpoint_every_s=0.0)
    deaths = 0
    while not drain(killed, stage, options, KillPoints(point, 2, crash)):
        deaths += 1
        seldom = point == "after_commit" and deaths % 2
        options = LoopOptions(max_batch=size, checkpoint_every_s=1e9 if seldom else 0.0)
    assert deaths >= 2
    assert written(killed, stage) == written(peaceful, stage)
    assert any(written(killed, stage).values())


def drain(system: System, stage: str, options: LoopOptions, reached: Callable[[str], None] | None) -> bool:
    """Whether the loop lived until nothing was left to read."""
    loop = make_loop(stage, system, "m", options, *([] if reached is None else [reached]))
    try:
        while loop.step(0.0):
            pass
    except Crash:
        return False
    return True
