"""Who answers requests one by one as they come: the scorer stage, or a bare transactional echo by the same client."""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer

from benchmarks.loops.product import kafka_log, new_loop
from benchmarks.loops.stopwatch import Stopwatch
from benchmarks.loops.subject import SIGNER
from benchmarks.stream import examples, open_source
from consumers.scorer import Scorer
from online.committee import Committee
from penstock.log.librdkafka_config import RETRY_BACKOFF_MS
from penstock.models.artifact import MemoryArtifacts
from penstock.models.slot import ServedModels
from penstock.models.watch import Watch
from penstock.spec import Rollout
from penstock.telemetry import Telemetry

POLL_S = 0.05
#: Examples that the served model has learned: enough for its trees to have grown.
TAUGHT = 2000


def taught_scorer(pipeline: str) -> Scorer:
    """The scorer stage, serving an online model of the spec's own tier."""
    source = open_source(pipeline)
    model = Committee(source.pipeline)
    for example in islice(examples(source, TAUGHT), TAUGHT):
        model.learn_one(example.prediction.features, example.value)
    served = ServedModels(MemoryArtifacts(SIGNER), lambda *_: model, model, lambda *_: None)
    return Scorer(source.pipeline, served, Watch(Rollout(), "scorer", time.monotonic, Telemetry()))


class _Stage:
    """The scorer stage by the product's loop."""

    def __init__(self, bootstrap: str, pipeline: str, name: str) -> None:
        scorer = taught_scorer(pipeline)
        self._folder = tempfile.TemporaryDirectory()
        self._opened = kafka_log(bootstrap, pipeline)
        log = self._opened.__enter__()
        self._loop = new_loop(log, "scorer", pipeline, name, Path(self._folder.name), lambda: scorer, Stopwatch())

    def step(self) -> None:
        self._loop.step(POLL_S)


class _Echo:
    """Consume, produce the same bytes, commit both in one transaction: nothing less is exactly once.

    The client has the settings that matter for latency as the product sets them.
    """

    def __init__(self, bootstrap: str, read: str, write: str, name: str) -> None:
        self._write = write
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": name,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._consumer.subscribe([read])
        # With the client's default of 100 ms each transaction would wait long for the markers of the one before.
        settings = {"transactional.id": name, "linger.ms": 0, "retry.backoff.ms": RETRY_BACKOFF_MS}
        self._producer = Producer({"bootstrap.servers": bootstrap} | settings)
        self._producer.init_transactions()

    def step(self) -> None:
        first = self._consumer.poll(POLL_S)
        if first is None:
            return
        messages = [first, *self._consumer.consume(499, 0)]
        self._producer.begin_transaction()
        for message in messages:
            self._producer.produce(self._write, message.value(), message.key(), 0)
        positions = self._consumer.position(self._consumer.assignment())
        self._producer.send_offsets_to_transaction(positions, self._consumer.consumer_group_metadata())
        self._producer.commit_transaction()


_answering: list[Any] = []


def open_stage(bootstrap: str, pipeline: str, name: str) -> None:
    """Answer by the scorer stage."""
    _answering.append(_Stage(bootstrap, pipeline, name))


def open_echo(bootstrap: str, read: str, write: str, name: str) -> None:
    """Answer by the echo."""
    _answering.append(_Echo(bootstrap, read, write, name))


def answer(seconds: float) -> float:
    """Answer for so long; the CPU seconds that it took."""
    until, began = time.monotonic() + seconds, time.process_time()
    while time.monotonic() < until:
        _answering[0].step()
    return time.process_time() - began
