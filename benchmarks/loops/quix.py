"""Quix Streams with exactly-once processing and otherwise its own defaults (a commit every 5 seconds)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from quixstreams import Application
from quixstreams.checkpointing import Checkpoint

from benchmarks.loops.stopwatch import Stopwatch
from benchmarks.loops.subject import examples_topic, new_learner, spec
from penstock.contract import decoder_for
from penstock.events import Example, encode
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


def learn(bootstrap: str, pipeline: str, model: str, form: str, records: int, run: str) -> dict[str, Any]:
    """One turn, as consumer group ``run``.

    ``form`` is Quix's (de)serialiser: ``json`` (its default; the dict becomes the learner's input), or ``bytes``, with
    the product's own decoder and encoder, which are faster.
    """
    watch = Stopwatch()
    decode: Any = partial(msgspec.convert, type=Example) if form == "json" else decoder_for("examples", spec(pipeline))
    deliver: Any = partial(msgspec.to_builtins, str_keys=True) if form == "json" else encode
    with tempfile.TemporaryDirectory() as folder, _commits_marked(watch):
        learner = new_learner(pipeline, model, Path(folder))
        application = _application(bootstrap, run, folder)
        read = application.topic(examples_topic(pipeline), value_deserializer=form, key_deserializer="bytes")
        write = application.topic(physical_name(pipeline, "metrics"), value_serializer=form, key_serializer="bytes")

        def process(value: Any) -> list[Any]:
            watch.start()
            outputs = learner.process([Input("examples", 0, watch.records, 0, decode(value))])
            watch.records += 1
            if watch.records == records:
                application.stop()
            return [deliver(output.event) for output in outputs]

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
