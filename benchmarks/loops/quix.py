"""Quix Streams with exactly-once processing and otherwise its own defaults (a commit every 5 seconds)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quixstreams import Application
from quixstreams.checkpointing import Checkpoint

from benchmarks.loops.stopwatch import Stopwatch
from benchmarks.loops.subject import examples_topic, new_learner, spec
from penstock.contract import decoder_for
from penstock.events import encode
from penstock.runtime.stage import Input
from penstock.topology import physical_name


def _application(bootstrap: str, run: str, folder: str) -> Any:
    return Application(
        broker_address=bootstrap,
        consumer_group=run,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        auto_create_topics=False,
        state_dir=folder,
        loglevel=None,
    )


@contextmanager
def _commits_marked(watch: Stopwatch) -> Iterator[None]:
    """Each of Quix's commits moves the end of the watch."""
    commit = Checkpoint.commit

    def marked(self: Any, **arguments: Any) -> None:
        commit(self, **arguments)
        watch.mark()

    Checkpoint.commit = marked
    try:
        yield
    finally:
        Checkpoint.commit = commit


def learn(bootstrap: str, pipeline: str, model: str, records: int, run: str) -> dict[str, Any]:
    """One turn, as consumer group ``run``: bytes in, the product's own decoder, the learner, bytes out."""
    decode, watch = decoder_for("examples", spec(pipeline)), Stopwatch()
    with tempfile.TemporaryDirectory() as folder, _commits_marked(watch):
        learner = new_learner(pipeline, model, Path(folder))
        application = _application(bootstrap, run, folder)
        read = application.topic(examples_topic(pipeline), value_deserializer="bytes", key_deserializer="bytes")
        write = application.topic(physical_name(pipeline, "metrics"), value_serializer="bytes", key_serializer="bytes")

        def process(value: bytes) -> list[bytes]:
            watch.start()
            outputs = learner.process([Input("examples", 0, watch.records, 0, decode(value))])
            watch.records += 1
            if watch.records == records:
                application.stop()
            return [encode(output.event) for output in outputs]

        application.dataframe(read).apply(process, expand=True).to_topic(write)
        application.run()
    return watch.turn()


def score(bootstrap: str, pipeline: str, form: str, records: int, run: str) -> dict[str, Any]:
    """One turn of passing requests through; ``form`` is Quix's (de)serialiser: ``json`` (its default) or ``bytes``."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, _commits_marked(watch):
        application = _application(bootstrap, run, folder)
        read = application.topic(physical_name(pipeline, "requests"), value_deserializer=form, key_deserializer="bytes")
        write = application.topic(physical_name(pipeline, "predictions"), value_serializer=form, key_serializer="bytes")

        def process(value: Any) -> Any:
            watch.start()
            watch.records += 1
            if watch.records == records:
                application.stop()
            return value

        application.dataframe(read).apply(process).to_topic(write)
        application.run()
    return watch.turn()
