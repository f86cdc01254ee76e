"""A plain loop on kafka-python: poll, decode, learn, send, flush, commit per batch. At least once; no checkpoints."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from benchmarks.loops.stopwatch import Stopwatch
from benchmarks.loops.subject import examples_topic, new_learner, spec
from penstock.contract import decoder_for
from penstock.events import encode
from penstock.runtime.stage import Input
from penstock.topology import physical_name


def learn(bootstrap: str, pipeline: str, model: str, records: int, run: str) -> dict[str, Any]:
    """One turn, as consumer group ``run``."""
    decode, watch = decoder_for("examples", spec(pipeline)), Stopwatch()
    consumer: Any = KafkaConsumer(
        examples_topic(pipeline),
        bootstrap_servers=bootstrap,
        group_id=run,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    producer: Any = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, batch_size=131_072)
    with tempfile.TemporaryDirectory() as folder:
        learner = new_learner(pipeline, model, Path(folder))
        while watch.records < records:
            for batch in consumer.poll(timeout_ms=1000).values():
                watch.start()
                inputs = [Input("examples", 0, r.offset, r.timestamp, decode(r.value)) for r in batch]
                for topic, key, event in learner.process(inputs):
                    producer.send(physical_name(pipeline, topic), encode(event), key.encode(), partition=0)
                watch.records += len(batch)
                producer.flush()
                consumer.commit()
                watch.mark()
        consumer.close()
        producer.close()
    return watch.turn()
