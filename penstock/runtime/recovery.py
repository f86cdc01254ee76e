"""Recovery: a stage whose state is the fold of everything that its group has committed, no more and no less."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

import structlog

from penstock.contract import decoder_for
from penstock.errors import ContractError, DependencyError, StageBugError, StateMismatchError, UnrecoverableStateError
from penstock.events import Alert, Event, encode
from penstock.log.port import Log, Message, Record, TopicPartition
from penstock.runtime.checkpoint import CheckpointStore, StateIdentity, library_versions
from penstock.runtime.patience import Patience
from penstock.runtime.stage import EffectfulStage, Input, Stage, StatefulStage
from penstock.spec import Pipeline
from penstock.topology import StageEntry

_log = structlog.get_logger()

#: What to do with a state that another spec, library version or architecture made.
OnMismatch: TypeAlias = Literal["stop", "rebuild", "new-epoch"]
REPLAY_BATCH = 500


class Recovered(NamedTuple):
    """A stage that is where its group is.

    ``settle``: another's state was set aside; a checkpoint written at once spares the next start the question.
    ``replayed``: inputs since the checkpoint; a newer one, in time, spares the next start the same replay.
    """

    stage: Stage
    settle: bool = False
    replayed: int = 0


class _Start(NamedTuple):
    """Where a fold starts: a stage, and the offsets that its state has come to (absent topic: 0)."""

    stage: StatefulStage
    offsets: Mapping[str, int]
    mismatch: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """Brings the stages of one role back.

    1. A stage without state is built fresh. So is one whose group has committed nothing; no checkpoint can belong
       to that history, so all are discarded.
    2. Checkpoints are tried from the newest. One that is ahead of a committed offset belongs to a transaction that
       never happened: it is discarded.
    3. One made by another spec, library version or architecture stops the recovery (``on_mismatch``: ``stop``),
       or sets all checkpoints aside (``rebuild``), or makes the stage start fresh at the committed offsets
       (``new-epoch``).
    4. One whose inputs up to the committed offsets the log no longer holds is passed over. If none is left, the fold
       starts at offset 0 of each input; if the log no longer has that, there is nothing to recover from.
    5. The state is restored.
    6. The inputs from the checkpoint's offsets to the committed ones are processed again in one order (append time,
       then topic), and the outputs are dropped: they are in the log already. Effects beside the outputs are muted.
       Records that break their contract are skipped: they are in the dead letters already.
    """

    entry: StageEntry
    pipeline: Pipeline
    log: Log
    make_stage: Callable[[int], Stage]
    checkpoints: CheckpointStore | None
    on_mismatch: OnMismatch
    patience: Patience

    @property
    def identity(self) -> StateIdentity:
        """What the states of this process are made by."""
        return StateIdentity(self.pipeline.state_digest(), library_versions())

    def recover(self, partition: int, committed: Mapping[str, int]) -> Recovered:
        """The stage of ``partition`` at ``committed`` (topic: next offset; absent: nothing committed).

        Raises:
            StateMismatchError: the newest checkpoint does not fit, and nobody said what to do about it.
            UnrecoverableStateError: neither a checkpoint nor the log reaches back far enough.
            StageBugError: the stage raised on an input that it had processed before.
            LogUnavailableError: the log could not be read for too long.
        """
        # 1.
        stage = self.make_stage(partition)
        if not isinstance(stage, StatefulStage):
            return Recovered(stage)
        if not committed:
            self._discard_all(partition)
            return Recovered(stage)
        # 2.-5.
        start = self._start(stage, partition, committed)
        missing = self._missing(partition, start.offsets, committed)
        if self.on_mismatch == "new-epoch" and (start.mismatch or missing):
            self._announce_epoch(partition, committed)
            return Recovered(start.stage, settle=True)
        if missing:
            raise UnrecoverableStateError(
                f"{self.entry.name}/{partition}: no usable checkpoint, and {missing[0]}; restore a checkpoint "
                "from a backup, or start without what was learned before with --new-epoch"
            )
        # 6.
        replayed = self._replay(start.stage, partition, start.offsets, committed)
        return Recovered(start.stage, settle=start.mismatch, replayed=replayed)

    def _start(self, fresh: StatefulStage, partition: int, committed: Mapping[str, int]) -> _Start:
        if self.checkpoints is None:
            return _Start(fresh, {}, mismatch=False)
        for stored in self.checkpoints.candidates(self.entry.name, partition):
            checkpoint = stored.checkpoint
            # 2.
            if any(offset > committed.get(topic, 0) for topic, offset in checkpoint.offsets.items()):
                self.checkpoints.discard(stored)
                continue
            # 3.
            problems = checkpoint.identity.differences(self.identity)
            if problems:
                return self._set_aside(fresh, partition, ", ".join(problems))
            # 4.
            missing = self._missing(partition, checkpoint.offsets, committed)
            if missing:
                _log.warning("checkpoint passed over", stage=self.entry.name, partition=partition, why=missing[0])
                continue
            # 5.
            try:
                fresh.restore(checkpoint.state)
            except Exception as error:  # noqa: BLE001 - what an older program wrote may fail to load in any way
                untouched = self.make_stage(partition)
                assert isinstance(untouched, StatefulStage)  # noqa: S101 - the same factory made ``fresh``
                return self._set_aside(untouched, partition, f"it does not load ({type(error).__name__}: {error})")
            return _Start(fresh, checkpoint.offsets, mismatch=False)
        return _Start(fresh, {}, mismatch=False)

    def _set_aside(self, fresh: StatefulStage, partition: int, problem: str) -> _Start:
        if self.on_mismatch == "stop":
            raise StateMismatchError(
                f"{self.entry.name}/{partition}: the saved state was made differently: {problem}; "
                "fold it again from the log with --rebuild, or start without it from here with --new-epoch "
                "(options of `penstock up` and `penstock run`)"
            )
        _log.warning(
            "state set aside", stage=self.entry.name, partition=partition, why=problem, choice=self.on_mismatch
        )
        return _Start(fresh, {}, mismatch=True)

    def _announce_epoch(self, partition: int, committed: Mapping[str, int]) -> None:
        """A new epoch breaks the fold on purpose, so the log says so. The same break is announced under one id."""
        where = ", ".join(f"{topic} {offset}" for topic, offset in sorted(committed.items()))
        alert = Alert(
            id=f"new-epoch-{self.entry.name}-{partition}-" + "-".join(str(committed[t]) for t in sorted(committed)),
            severity="warning",
            title=f"{self.entry.name}/{partition} starts a new epoch",
            detail=f"what it had learned before is left out; it starts fresh at {where}",
            at_ms=self.patience.clock.now_ms(),
            source=self.entry.name,
        )
        message = Message("alerts", alert.id.encode(), encode(alert), 0)
        self.patience.call("announcing the epoch", partial(self.log.append, [message]))

    def _missing(self, partition: int, starts: Mapping[str, int], committed: Mapping[str, int]) -> list[str]:
        """What the log lacks of [start, committed) of each input, in words; empty where it holds all."""
        found = []
        for topic, stop in sorted(committed.items()):
            start = starts.get(topic, 0)
            first, end = self._bounds(TopicPartition(topic, partition))
            if start < stop and start < first:
                found.append(f"{topic}/{partition} is needed from offset {start}, but the log holds {first} to {end}")
            if end < stop:
                found.append(f"{topic}/{partition} is needed up to offset {stop}, but the log ends at {end}")
        return found

    def _bounds(self, where: TopicPartition) -> tuple[int, int]:
        return self.patience.call(f"bounds of {where.topic}", partial(self.log.bounds, where))

    def _discard_all(self, partition: int) -> None:
        if self.checkpoints is not None:
            for stored in self.checkpoints.candidates(self.entry.name, partition):
                self.checkpoints.discard(stored)

    def _replay(self, stage: Stage, partition: int, starts: Mapping[str, int], committed: Mapping[str, int]) -> int:
        decoders = {topic: decoder_for(topic, self.pipeline) for topic in self.entry.reads}
        histories = [
            self._history(TopicPartition(topic, partition), starts.get(topic, 0), stop)
            for topic, stop in sorted(committed.items())
        ]
        inputs = _decoded(heapq.merge(*histories, key=_place), decoders)
        count = 0
        if isinstance(stage, EffectfulStage):
            stage.mute(True)
        while batch := list(islice(inputs, REPLAY_BATCH)):
            count += len(batch)
            try:
                stage.process(batch)
            except DependencyError:
                raise
            except Exception as error:  # a stage's bug may be anything; it stops the recovery, loudly
                first, last = batch[0], batch[-1]
                problem = f"{type(error).__name__}: {error} (replaying up to {last.topic} offset {last.offset})"
                raise StageBugError(self.entry.name, first.topic, partition, first.offset, problem) from error
        if isinstance(stage, EffectfulStage):
            stage.mute(False)
        if count:
            _log.info("state recovered", stage=self.entry.name, partition=partition, replayed=count)
        return count

    def _history(self, where: TopicPartition, start: int, stop: int) -> Iterator[Record]:
        while start < stop:
            read = partial(self.log.read, where, start, stop, REPLAY_BATCH)
            records = self.patience.call(f"history of {where.topic}", read)
            if not records:
                return
            yield from records
            start = records[-1].offset + 1


def _place(record: Record) -> tuple[int, str]:
    return record.timestamp_ms, record.topic


def _decoded(records: Iterator[Record], decoders: Mapping[str, Callable[[bytes], Event]]) -> Iterator[Input]:
    for record in records:
        try:
            event = decoders[record.topic](record.value)
        except ContractError:
            continue
        yield Input(record.topic, record.partition, record.offset, record.timestamp_ms, event)
