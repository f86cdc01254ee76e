"""The learner stage: test, then train, on the one totally ordered stream of labelled examples of its partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from online import snapshot
from online.committee import Committee
from online.detectors.fairness import EqualOpportunity
from online.pairs import LossPairs
from online.recency import LAG_LIMIT
from online.scoreboard import Scoreboard
from penstock.errors import StateMismatchError
from penstock.events import Event, Evidence, Example, Finding, Metrics, ModelRecord, Prediction, Score
from penstock.models import pickles
from penstock.models.artifact import ArtifactRef
from penstock.models.slot import ONLINE
from penstock.models.snapshots import SnapshotPublisher
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline


class Detectors(Protocol):
    """Watches errors for concept drift. Its state can be pickled, and depends on its inputs only."""

    def update(self, example: Example, online_score: Score) -> list[Finding]:
        """Count one champion example; ``online_score`` is the learner's own score before it learned the example.

        Returns the findings that fired on it.
        """
        ...

    def look(self) -> list[Finding]:
        """The newest finding of each detector. Changes nothing."""
        ...

    def reset(self, generation: int) -> None:
        """A champion of a new ``generation`` is served: forget what was about the old one."""
        ...


class Learner:
    """Learns one partition's examples, once each, in order.

    For every first label of a prediction: 1. metrics of what was served and of every version that was scored with it,
    2. the committee's score, then its training, 3. the detectors, 4. a snapshot where the publisher wants one.
    Revisions are counted and never learned. The first higher generation on a champion prediction resets the detectors.
    """

    def __init__(self, pipeline: Pipeline, partition: int, publisher: SnapshotPublisher, detectors: Detectors) -> None:
        self._pipeline = pipeline
        self._partition = partition
        self._publisher = publisher
        self._detectors = detectors
        self._look_every = pipeline.drift.look_every
        self._committee = Committee(pipeline)
        self._generation = 0
        self._scoreboard = Scoreboard(pipeline)
        self._pairs = LossPairs(pipeline)
        self._fairness = EqualOpportunity(pipeline)
        self._counts: dict[str, int] = {}
        self._muted = False

    def mute(self, muted: bool) -> None:
        """While muted no snapshot is stored: a replay must not push out those that the log still names."""
        self._muted = muted

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """See the class."""
        outputs: list[Output] = []
        for record in inputs:
            if not isinstance(record.event, Example):
                raise TypeError(f"learner: {record.topic}/{record.offset} is a {type(record.event).__name__}")
            outputs.extend(self._learn(record.event, record.offset))
        return outputs

    @property
    def committee(self) -> Committee:
        """What was learned."""
        return self._committee

    def state(self) -> bytes:
        """Committee, detectors and what was counted since the last metrics record."""
        counted = (self._scoreboard.state(), self._pairs.state(), self._fairness.state(), self._counts)
        return pickles.dumps((self._committee, self._detectors, self._generation, *counted))

    def restore(self, state: bytes) -> None:
        """Take over what ``state()`` returned.

        Raises:
            ArtifactError: the bytes do not load.
            StateMismatchError: they are the state of another pipeline.
        """
        committee, detectors, generation, board, pairs, fairness, counts = pickles.loads(state)
        if not committee.fits(self._pipeline):
            raise StateMismatchError(
                f"learner state of another pipeline ({committee.pipeline_name}) than {self._pipeline.name}"
            )
        self._committee, self._detectors, self._generation = committee, detectors, generation
        self._scoreboard.restore(board)
        self._pairs.restore(pairs)
        self._fairness.restore(fairness)
        self._counts = counts

    def _learn(self, example: Example, offset: int) -> list[Output]:
        if example.revision:
            self._counts["revisions"] = self._counts.get("revisions", 0) + 1
            return []
        prediction = example.prediction
        champion = prediction.role == "champion"
        if champion and prediction.generation > self._generation:
            self._generation = prediction.generation
            self._detectors.reset(self._generation)
        self._scoreboard.add(example)
        self._pairs.add(example)
        score = self._committee.learn_one(prediction.features, example.value, self._lag(prediction))
        fired = self._detectors.update(example, score) if champion else []
        if champion:
            self._fairness.update(example)
        return [*self._snapshot(offset), *self._report(example, offset, fired)]

    def _lag(self, prediction: Prediction) -> int | None:
        if self._pipeline.partitions > 1:
            # A snapshot's number counts the examples of all partitions: how many of these were ours is not known.
            return LAG_LIMIT + 1
        if prediction.snapshot is None or prediction.snapshot > self._committee.learned:
            # Scored by another model, or in an epoch before this one.
            return None
        return self._committee.learned - prediction.snapshot

    def _snapshot(self, offset: int) -> list[Output]:
        if self._muted:
            return []
        committee = self._committee
        ref = self._publisher.offer(committee.learned, lambda: snapshot.dump(committee))
        if ref is None:
            return []
        slot = f"online-{self._partition}"
        return [Output("models", slot, _record(slot, self._generation, committee.learned, offset, ref))]

    def _report(self, example: Example, offset: int, fired: list[Finding]) -> list[Output]:
        learned = self._committee.learned
        look = learned % self._look_every == 0
        outputs: list[Output] = []
        findings = fired
        if look:
            findings = [*fired, *(finding for finding in self._detectors.look() if finding not in fired)]
            findings += self._fairness.look()
        if findings:
            outputs.append(self._output("evidence", self._evidence(example, findings)))
        if look:
            outputs.append(self._output("metrics", self._metrics(example, offset)))
            self._counts = {}
        return outputs

    def _evidence(self, example: Example, findings: list[Finding]) -> Evidence:
        return Evidence(
            stage="learner",
            partition=self._partition,
            seen=self._committee.learned,
            record_id=example.id,
            event_time_ms=example.prediction.event_time_ms,
            generation=self._generation,
            findings=findings,
        )

    def _metrics(self, example: Example, offset: int) -> Metrics:
        blocks, segments = self._scoreboard.flush()
        return Metrics(
            stage="learner",
            partition=self._partition,
            seen=self._committee.learned,
            record_id=example.id,
            event_time_ms=example.prediction.event_time_ms,
            generation=self._generation,
            offset=offset,
            blocks=blocks,
            counts=self._counts,
            segments=segments,
            pairs=self._pairs.flush(),
        )

    def _output(self, topic: str, event: Event) -> Output:
        return Output(topic, str(self._partition), event)


def _record(slot: str, generation: int, learned: int, offset: int, ref: ArtifactRef) -> ModelRecord:
    return ModelRecord(
        slot=slot,
        version=ONLINE,
        kind="online",
        generation=generation,
        snapshot=learned,
        offset=offset,
        uri=ref.uri,
        digest=ref.digest,
        signature=ref.signature,
        size_bytes=ref.size_bytes,
    )
