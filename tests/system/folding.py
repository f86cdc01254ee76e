"""A fresh fold, in one undisturbed process, of a stage over its own recorded input topic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from consumers.incidents import Incidents
from consumers.learner import Learner
from consumers.monitor import Monitor
from online.detectors.outcomes import OutcomeDetectors
from penstock.contract import decoder_for
from penstock.events import encode
from penstock.models.artifact import Signer, signing_key
from penstock.runtime.checkpoint import Checkpoint, DirectoryCheckpoints
from penstock.runtime.stage import Input, Stage
from penstock.spec import Pipeline
from tests.system.log_reader import LogReader, Recorded, Stored

#: Rows on which two learners are compared.
PROBE = 50


class NoSnapshots:
    """Publishes nothing: a fold has no effects."""

    def offer(self, learned, dump):
        return None


class Fold(NamedTuple):
    """A stage that is folded: what it reads, which of its outputs are compared, whether per partition."""

    name: str
    topic: str
    outputs: tuple[str, ...]
    keyed: bool


FOLDS = (
    Fold("learner", "examples", ("evidence", "metrics"), keyed=True),
    Fold("monitor", "predictions", ("evidence", "metrics"), keyed=True),
    Fold("incidents", "evidence", ("drift",), keyed=False),
)


def check_folds(pipeline: Pipeline, data_dir: Path) -> None:
    """Everything that the stages wrote, and their last states, are what a fresh fold gives: bit for bit."""
    assert fold_differences(pipeline, LogReader(data_dir / "log.db", pipeline.name).everything(), data_dir) == []


def fold_differences(pipeline: Pipeline, recorded: Recorded, data_dir: Path) -> list[str]:
    """Where what stages wrote, or their last checkpoint, is not that of a fresh fold; empty where all agree."""
    found = []
    for one in FOLDS:
        for partition, inputs in sorted(recorded.get(one.topic, {}).items()):
            stage = fresh(one.name, pipeline, partition)
            outputs = fold(stage, pipeline, one.topic, partition, inputs)
            found += _other_outputs(one, partition, outputs, recorded)
            if inputs:
                found += _other_state(one, pipeline, partition, stage, inputs, recorded, data_dir)
    return found


def fresh(name: str, pipeline: Pipeline, partition: int) -> Stage:
    """A stage that has seen nothing."""
    if name == "learner":
        return Learner(pipeline, partition, NoSnapshots(), OutcomeDetectors(pipeline))
    return Monitor(pipeline, partition) if name == "monitor" else Incidents(pipeline)


def fold(
    stage: Stage, pipeline: Pipeline, topic: str, partition: int, records: Sequence[Stored]
) -> list[tuple[str, bytes]]:
    """Feed a whole partition to a fresh stage; its outputs as (topic, bytes)."""
    decode = decoder_for(topic, pipeline)
    inputs = [Input(topic, partition, one.offset, one.timestamp_ms, decode(one.value)) for one in records]
    return [(output.topic, encode(output.event)) for output in stage.process(inputs)]


def written_by(stage: str, partition: int, values: Sequence[bytes]) -> list[bytes]:
    """Of the values of a topic that several stages and partitions write to, those of one."""
    mark = f'"stage":"{stage}","partition":{partition},'.encode()
    return [value for value in values if mark in value]


def _other_outputs(one: Fold, partition: int, outputs: list[tuple[str, bytes]], recorded: Recorded) -> list[str]:
    found = []
    for topic in one.outputs:
        expected = [value for name, value in outputs if name == topic]
        values = [record.value for record in recorded.get(topic, {}).get(0, [])]
        there = written_by(one.name, partition, values) if one.keyed else values
        if there != expected:
            at = next((n for n, pair in enumerate(zip(there, expected, strict=False)) if pair[0] != pair[1]), None)
            what = f"the first {min(len(there), len(expected))} agree" if at is None else f"number {at} differs"
            found.append(f"{one.name}/{partition}: {len(there)} {topic} records, not {len(expected)}; {what}")
    return found


def _other_state(
    one: Fold,
    pipeline: Pipeline,
    partition: int,
    folded: Stage,
    inputs: Sequence[Stored],
    recorded: Recorded,
    data_dir: Path,
) -> list[str]:
    checkpoint = newest_checkpoint(pipeline, data_dir, one.name, partition)
    where = f"{one.name}/{partition}"
    if checkpoint is None:
        return [f"{where}: it left no checkpoint"]
    if checkpoint.offsets[one.topic] <= inputs[-1].offset:
        return [f"{where}: its last checkpoint is at {checkpoint.offsets[one.topic]}, not after {inputs[-1].offset}"]
    stored = fresh(one.name, pipeline, partition)
    stored.restore(checkpoint.state)
    if isinstance(stored, Learner):
        probe = _probe(recorded)
        same = stored.committee.score_many(probe) == folded.committee.score_many(probe)
        return [] if same else [f"{where}: the last checkpoint scores otherwise than the fold"]
    return [] if stored.state() == folded.state() else [f"{where}: the last checkpoint is another state than the fold"]


def _probe(recorded: Recorded) -> list[dict[str, object]]:
    rows = [record for partition in recorded["predictions"].values() for record in partition[:PROBE]]
    return [json.loads(record.value)["features"] for record in rows[:PROBE]]


def newest_checkpoint(pipeline: Pipeline, data_dir: Path, stage: str, partition: int) -> Checkpoint | None:
    """The newest checkpoint of a stage's partition that is whole."""
    store = DirectoryCheckpoints(data_dir / pipeline.name / "checkpoints", Signer(signing_key(data_dir, None)))
    return next((stored.checkpoint for stored in store.candidates(stage, partition)), None)


def learned_by(pipeline: Pipeline, data_dir: Path, partition: int) -> int:
    """How many examples the learner of a partition has learned, as its newest checkpoint has it."""
    checkpoint = newest_checkpoint(pipeline, data_dir, "learner", partition)
    if checkpoint is None:
        return 0
    learner = fresh("learner", pipeline, partition)
    learner.restore(checkpoint.state)
    return learner.committee.learned
