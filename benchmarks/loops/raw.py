"""The limit: no log at all. Decoded examples in memory, fed to the learner in batches; its outputs are dropped."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from benchmarks.loops.stopwatch import Stopwatch
from benchmarks.loops.subject import examples_topic, new_learner, spec
from penstock.contract import decoder_for
from penstock.runtime.collector import calm_collector
from penstock.runtime.stage import Input

BATCH = 500


@lru_cache(maxsize=4)
def _inputs(bootstrap: str, pipeline: str, records: int) -> tuple[Input, ...]:
    """The whole topic, decoded. Not timed."""
    decode = decoder_for("examples", spec(pipeline))
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "raw", "enable.auto.commit": False})
    consumer.assign([TopicPartition(examples_topic(pipeline), 0, OFFSET_BEGINNING)])
    inputs: list[Input] = []
    while len(inputs) < records:
        for message in consumer.consume(records - len(inputs), 1.0):
            offset, value = message.offset(), message.value()
            assert offset is not None
            assert value is not None
            inputs.append(Input("examples", 0, offset, 0, decode(value)))
    consumer.close()
    calm_collector()  # as the product does: what is only held here must not slow the limit down
    return tuple(inputs)


def learn(bootstrap: str, pipeline: str, model: str, records: int, run: str) -> dict[str, Any]:  # noqa: ARG001 - as all
    """One turn. Nothing is kept that ``run`` could name."""
    inputs, watch = _inputs(bootstrap, pipeline, records), Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        learner = new_learner(pipeline, model, Path(folder))
        watch.start()
        for start in range(0, records, BATCH):
            learner.process(inputs[start : start + BATCH])
        watch.mark()
    watch.records = records
    return watch.turn()
