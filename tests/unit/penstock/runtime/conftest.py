"""A small stage and the ports around it, all in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock.clock import VirtualClock
from penstock.events import Label, Prediction, Request, encode
from penstock.log.memory import MemoryLog
from penstock.log.port import Log, Message, TopicConfig, TopicPartition
from penstock.models.artifact import Signer
from penstock.runtime.checkpoint import DirectoryCheckpoints
from penstock.runtime.loop import LoopOptions, StageLoop
from penstock.runtime.patience import Patience
from penstock.runtime.stage import Input, Output
from penstock.spec import Numeric, Pipeline
from penstock.telemetry import Telemetry
from penstock.topology import StageEntry

ENTRY = StageEntry("summer", "tests", ("requests", "labels"), ("predictions", "metrics"), "sums")


class Summer:
    """Answers each request with the sum so far, so that an input skipped or taken twice shows in all that follow.

    Labels only add to a second sum: the two topics do not depend on each other's order.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self.labels = 0.0
        self.seen = 0

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        outputs = []
        for read in inputs:
            event = read.event
            if isinstance(event, Label):
                self.labels += float(event.value)
                continue
            assert isinstance(event, Request)
            if event.id == "bug":
                raise ZeroDivisionError("a bug of the stage")
            self.seen += 1
            value = event.features["x"]
            self.total += value if isinstance(value, float) else 0.0
            prediction = Prediction(
                id=event.id,
                entity=event.id,
                event_time_ms=0,
                features=event.features,
                version="v",
                generation=0,
                decision=self.total,
                score=self.total,
            )
            outputs.append(Output("predictions", event.id, prediction))
        return outputs

    def state(self) -> bytes:
        return json.dumps([self.total, self.labels, self.seen]).encode()

    def restore(self, state: bytes) -> None:
        self.total, self.labels, self.seen = json.loads(state)


class Rig:
    """A log, checkpoints and clock that outlive the loops that are made over them."""

    def __init__(self, directory: Any, partitions: int = 1, log: Log | None = None) -> None:
        self.pipeline = self.spec()
        self.clock = VirtualClock(1_000)
        self.entry = ENTRY
        self.partitions = partitions
        topics = [TopicConfig(name, partitions) for name in ("requests", "labels", "predictions")]
        topics += [TopicConfig(name, 1) for name in ("metrics", "dead-letters", "alerts")]
        self.log: Any = log or MemoryLog(self.clock)
        self.log.ensure_topics(topics)
        self.directory = directory
        self.checkpoints = DirectoryCheckpoints(directory, Signer(b"k" * 32))
        self.telemetry = Telemetry()
        self.stages: dict[int, Summer] = {}

    def spec(self, **changes: Any) -> Pipeline:
        declared = {"name": "toy", "task": "regression", "target": "y", "features": (Numeric("x"),)}
        return Pipeline(**(declared | changes))

    def options(self, **changes: Any) -> LoopOptions:
        return LoopOptions(**({"max_batch": 7, "checkpoint_every_s": 0.0} | changes))

    def make_stage(self, partition: int) -> Summer:
        self.stages[partition] = Summer()
        return self.stages[partition]

    def loop(
        self, *, member: str = "m-0", log: Any = None, make_stage: Callable[[int], Any] | None = None, **changes: Any
    ) -> StageLoop:
        given = {
            name: changes.pop(name)
            for name in ("before_batch", "reached", "checkpoints", "pipeline", "commits")
            if name in changes
        }
        checkpoints = given.pop("checkpoints", self.checkpoints)
        patience = Patience(self.clock, self.clock.advance_s, changes.pop("patience_s", 60.0))
        return StageLoop(
            self.entry,
            given.pop("pipeline", self.pipeline),
            log or self.log,
            make_stage or self.make_stage,
            checkpoints,
            self.clock,
            self.telemetry,
            member,
            self.options(**changes),
            patience=patience,
            **given,
        )

    def request(self, id_: str, x: float, partition: int = 0) -> Message:
        return Message("requests", id_.encode(), encode(Request(id=id_, features={"x": x})), partition)

    def label(self, id_: str, value: float, partition: int = 0) -> Message:
        return Message("labels", id_.encode(), encode(Label(id=id_, value=value)), partition)

    def feed(self, start: int, stop: int, partition: int = 0) -> None:
        """Requests and labels named by their numbers, a millisecond apart."""
        for number in range(start, stop):
            self.clock.advance_s(0.001)
            self.log.append([self.request(str(number), number / 7, partition)])
            self.log.append([self.label(str(number), number, partition)])

    def drain(self, loop: StageLoop) -> int:
        count = 0
        while taken := loop.step(0.0):
            count += taken
        return count

    def values(self, topic: str, partition: int = 0) -> list[bytes]:
        where = TopicPartition(topic, partition)
        first, end = self.log.bounds(where)
        return [record.value for record in self.log.read(where, first, end, 1_000_000)]

    def fresh_fold(self, partition: int = 0) -> tuple[list[bytes], bytes]:
        """Outputs and state of a stage that processes the log's requests, then its labels, in one go."""
        from penstock.contract import decoder_for

        stage = Summer()
        outputs: list[Output] = []
        for topic in ("requests", "labels"):
            decode = decoder_for(topic, self.pipeline)
            inputs = [Input(topic, partition, n, 0, decode(v)) for n, v in enumerate(self.values(topic, partition))]
            outputs += stage.process(inputs)
        return [encode(output.event) for output in outputs], stage.state()


@pytest.fixture
def rig(tmp_path: Any) -> Rig:
    return Rig(tmp_path / "checkpoints")


@pytest.fixture
def make_rig(tmp_path: Any) -> Callable[..., Rig]:
    made = iter(range(1_000_000))
    return lambda partitions=1: Rig(tmp_path / f"checkpoints-{next(made)}", partitions)
