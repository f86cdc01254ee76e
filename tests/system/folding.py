"""A fresh fold, in one undisturbed process, of a stage over its own recorded input topic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from consumers.incidents import Incidents
from consumers.learner import Learner
from consumers.monitor import Monitor
from online.detectors.concept import ErrorDetectors
from penstock.contract import decoder_for
from penstock.events import encode
from penstock.models.artifact import Signer, signing_key
from penstock.runtime.checkpoint import DirectoryCheckpoints
from penstock.runtime.stage import Input, Stage
from penstock.spec import Pipeline
from tests.system.log_reader import LogReader


class NoSnapshots:
    """Publishes nothing: a fold has no effects."""

    def offer(self, learned, dump):
        return None


def fold(stage: Stage, pipeline: Pipeline, log: LogReader, topic: str) -> list[tuple[str, bytes]]:
    """Feed a whole topic to a fresh stage; its outputs as (topic, bytes)."""
    decode = decoder_for(topic, pipeline)
    inputs = [Input(topic, 0, offset, 0, decode(value)) for offset, value in enumerate(log.raw(topic))]
    return [(output.topic, encode(output.event)) for output in stage.process(inputs)]


def recorded(log: LogReader, topics: Sequence[str], stage: str) -> dict[str, list[bytes]]:
    """What a stage wrote to topics that it may share with others."""
    mark = f'"stage":"{stage}"'.encode()
    return {topic: [value for value in log.raw(topic) if mark in value or topic == "drift"] for topic in topics}


def grouped(outputs: list[tuple[str, bytes]], topics: Sequence[str]) -> dict[str, list[bytes]]:
    """Outputs by topic, for the topics that are compared."""
    return {topic: [value for name, value in outputs if name == topic] for topic in topics}


def check_folds(pipeline: Pipeline, data_dir: Path) -> None:
    """Everything that the stages wrote, and the learner's last state, is what a fresh fold gives: bit for bit."""
    log = LogReader(data_dir / "log.db", pipeline.name)
    learner = Learner(pipeline, 0, NoSnapshots(), ErrorDetectors(pipeline))
    stages = {
        "learner": (learner, "examples", ("evidence", "metrics")),
        "monitor": (Monitor(pipeline, 0), "predictions", ("evidence", "metrics")),
        "incidents": (Incidents(pipeline), "evidence", ("drift",)),
    }
    for name, (stage, topic, outputs) in stages.items():
        assert grouped(fold(stage, pipeline, log, topic), outputs) == recorded(log, outputs, name), name
    probe = [request["features"] for request in log.values("requests")[:50]]
    assert stored_learner(pipeline, data_dir).committee.score_many(probe) == learner.committee.score_many(probe)


def stored_learner(pipeline: Pipeline, data_dir: Path) -> Learner:
    """The learner as its newest checkpoint has it."""
    store = DirectoryCheckpoints(data_dir / pipeline.name / "checkpoints", Signer(signing_key(data_dir, None)))
    learner = Learner(pipeline, 0, NoSnapshots(), ErrorDetectors(pipeline))
    learner.restore(next(iter(store.candidates("learner", 0))).checkpoint.state)
    return learner
