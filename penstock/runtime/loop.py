"""The loop of one stage: poll, decode, process, checkpoint, commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter

import structlog

from penstock.clock import Clock
from penstock.contract import decoder_for
from penstock.errors import ContractError, DependencyError, LogError, LogUnavailableError, PenstockError, StageBugError
from penstock.log.port import Log, Membership, Message, Record, TopicPartition
from penstock.runtime.batch_size import BatchSize
from penstock.runtime.checkpoint import CheckpointStore
from penstock.runtime.commits import Commits, InlineCommits
from penstock.runtime.culprit import find_culprit
from penstock.runtime.dead_letters import dead_letter
from penstock.runtime.patience import Patience
from penstock.runtime.recovery import OnMismatch, Recovery
from penstock.runtime.routing import Router
from penstock.runtime.saver import Held, Saver
from penstock.runtime.stage import Input, Stage
from penstock.spec import Pipeline
from penstock.telemetry import CounterName, HistogramName, Telemetry
from penstock.topology import StageEntry

_log = structlog.get_logger()

_place = itemgetter(0, 1)  # topic and partition of a record

#: How long a log that is away is waited for where nobody says otherwise.
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How a loop runs.

    A transaction holds ``max_batch`` records at most. ``checkpoint_every_s`` seconds lie between two checkpoints of a
    partition, and more where they are dear: writing those of all its partitions takes at most ``checkpoint_share`` of
    the loop's time.
    """

    max_batch: int = 8000
    checkpoint_every_s: float = 2.0
    checkpoint_share: float = 0.05
    on_mismatch: OnMismatch = "stop"


def group_name(pipeline: str, stage: str) -> str:
    """The consumer group of a stage: ``<pipeline>.<stage>``."""
    return f"{pipeline}.{stage}"


def _pass(_: str) -> None:
    """The kill points of a process that is not being tested."""


class StageLoop:
    """Runs one stage over the partitions that its group gives it, so that each input has its effects exactly once.

    One step:

    1. Poll. Partitions that went away leave a checkpoint for their next owner.
    2. Newly assigned partitions are recovered (see `Recovery`).
    3. Records are decoded, each once; what breaks its contract becomes a dead letter.
    4. Each partition's stage processes its inputs in poll order.
    5. Where one is due, a checkpoint is written: before the transaction of its offsets. A crash between 5 and 6
       leaves one that is ahead of the committed offsets, which recovery discards; the other order could leave
       committed inputs that no checkpoint and, after retention, no log can account for.
    6. Outputs, dead letters and input offsets are committed in one transaction. While the log is unavailable the very
       same transaction is tried again; nothing is processed twice.

    With `BackgroundCommits` step 6 goes on during the next step's 1 to 5, and is waited for before the next 6, before a
    partition is given up, and before one is recovered.

    An exception leaves state ahead of what is committed, so the loop is spent after one: nothing more is written,
    and a new loop starts from what is committed. ``before_batch`` is called after each poll, before processing.
    ``reached`` hears ``mid_batch``, ``before_checkpoint``, ``after_checkpoint`` and ``after_commit``, for tests
    that kill the process there. ``patience`` is how a log that is away is waited for. One thread steps and closes a
    loop; its first step joins the group.
    """

    def __init__(
        self,
        entry: StageEntry,
        pipeline: Pipeline,
        log: Log,
        make_stage: Callable[[int], Stage],
        checkpoints: CheckpointStore | None,
        clock: Clock,
        telemetry: Telemetry,
        member: str,
        options: LoopOptions,
        *,
        commits: Commits | None = None,
        before_batch: Callable[[], None] | None = None,
        reached: Callable[[str], None] = _pass,
        patience: Patience | None = None,
    ) -> None:
        self._entry, self._log = entry, log
        self._clock, self._telemetry, self._options = clock, telemetry, options
        self._group, self._member = group_name(pipeline.name, entry.name), member
        self._before_batch, self._reached = before_batch, reached
        self._commits = commits or InlineCommits()
        self._batch_size = BatchSize(options.max_batch)
        self._patience = patience or Patience(clock, time.sleep, PATIENCE_S)
        self._recovery = Recovery(entry, pipeline, log, make_stage, checkpoints, options.on_mismatch, self._patience)
        self._saver = Saver(
            entry.name,
            checkpoints,
            self._recovery.identity,
            clock,
            telemetry,
            reached,
            options.checkpoint_every_s,
            options.checkpoint_share,
        )
        self._router = Router(entry)
        self._decoders = {topic: decoder_for(topic, pipeline) for topic in entry.reads}
        self._membership: Membership | None = None
        self._held: dict[int, Held] = {}
        self._assigned: set[int] = set()
        self._spent = False

    @property
    def stage(self) -> str:
        """The name of the stage that runs here."""
        return self._entry.name

    def holds(self, partition: int) -> bool:
        """Whether the stage of ``partition`` runs here now. Any thread may ask."""
        return partition in self._held

    def step(self, timeout_s: float) -> int:
        """Run one batch; how many records it took (0 after ``timeout_s`` without any).

        Raises:
            StageBugError: the stage raised; nothing was committed.
            FencedError: another process took a partition over; nothing was committed.
            StateMismatchError, UnrecoverableStateError: see `Recovery.recover`.
            OffsetOutOfRangeError: retention passed inputs that were not read yet.
            LogUnavailableError: it was unavailable for longer than ``patience`` lasts; nothing was committed.
        """
        if self._spent:
            raise PenstockError(f"{self.stage}: this loop has failed or was closed; a new one has to take over")
        try:
            return self._step(timeout_s)
        except BaseException:
            self._spent = True
            self._held.clear()
            raise

    def close(self) -> None:
        """Write a last checkpoint of each partition and leave the group. Idempotent; after a failure it only leaves."""
        membership, self._membership = self._membership, None
        try:
            self._commits.finish()
            if not self._spent:
                for partition in sorted(self._held):
                    self._saver.save(partition, self._held[partition])
        finally:
            self._spent = True
            self._held.clear()
            if membership is not None:
                membership.close()

    def _step(self, timeout_s: float) -> int:
        # 1.
        membership = self._membership or self._join()
        records = self._patience.call("poll", partial(membership.poll, self._batch_size.limit, timeout_s))
        # 2.
        if self._assigned:
            self._commits.finish()
        while self._assigned:
            self._recover(membership, min(self._assigned))
        if self._before_batch is not None:
            self._patience.call("what comes before a batch", self._before_batch)
        if not records:
            if self._commits.ended():
                self._commits.finish()
            return 0
        # 3.
        started = self._clock.monotonic_s()
        inputs, dead, offsets = self._decode(records)
        # 4.
        messages: list[Message] = []
        for partition, batch in inputs.items():
            messages += self._process(partition, batch)
            self._reached("mid_batch")
        messages += dead
        self._advance(offsets)
        processed = self._clock.monotonic_s()
        self._batch_size.took(len(records), processed - started)
        # 5.
        self._saver.save_due({partition: self._held[partition] for _, partition in offsets}, processed)
        # 6.
        self._commits.finish()
        self._commits.start(partial(self._commit, membership, messages, offsets))
        self._count(len(records), len(dead), processed - started)
        return len(records)

    def _commit(
        self, membership: Membership, messages: Sequence[Message], offsets: Mapping[TopicPartition, int]
    ) -> None:
        committing = self._clock.monotonic_s()
        self._patience.call("commit", partial(membership.commit, messages, offsets))
        self._reached("after_commit")
        self._telemetry.count(CounterName.COMMITS, stage=self.stage)
        self._telemetry.observe(HistogramName.COMMIT_SECONDS, self._clock.monotonic_s() - committing, stage=self.stage)

    def _join(self) -> Membership:
        reads, assigned = self._entry.reads, self._assigned.update
        join = partial(self._log.join, self._group, reads, self._member, assigned, self._on_revoked)
        self._membership = self._patience.call("join", join)
        return self._membership

    def _on_revoked(self, partitions: Sequence[int]) -> None:
        try:
            self._commits.finish()
        except LogUnavailableError as error:  # the poll's patience would repeat the poll, and forget the batch
            raise LogError(f"{self.stage}: the last commit before a hand-over failed: {error}") from error
        for partition in partitions:
            self._assigned.discard(partition)
            held = self._held.pop(partition, None)
            if held is not None:
                self._saver.save(partition, held)

    def _recover(self, membership: Membership, partition: int) -> None:
        """Done after the poll, not in its callback: clients forbid calls to the log from inside theirs."""
        committed: dict[str, int] = {}
        for topic in self._entry.reads:
            offset = self._patience.call("committed", partial(membership.committed, TopicPartition(topic, partition)))
            if offset is not None:
                committed[topic] = offset
        recovered = self._recovery.recover(partition, committed)
        due_s = self._clock.monotonic_s() + self._options.checkpoint_every_s
        changed = recovered.settle or recovered.replayed > 0
        held = self._held[partition] = Held(recovered.stage, committed, due_s, changed)
        self._assigned.discard(partition)
        if recovered.settle:
            self._saver.save(partition, held)

    def _decode(
        self, records: Sequence[Record]
    ) -> tuple[dict[int, list[Input]], list[Message], dict[TopicPartition, int]]:
        """Inputs per partition, dead letters, and the next offset of each input. The hottest lines of the loop."""
        new_tuple = tuple.__new__  # half the price of calling a named tuple's class
        inputs: dict[int, list[Input]] = {}
        dead: list[Message] = []
        offsets: dict[TopicPartition, int] = {}
        for place, run in groupby(records, _place):
            topic, partition = place
            decode, batch = self._decoders[topic], inputs.setdefault(partition, [])
            for record in run:
                _, _, offset, timestamp_ms, _, value, _ = record
                try:
                    event = decode(value)
                except ContractError as error:
                    dead.append(dead_letter(record, error, self._entry.name))
                    continue
                batch.append(new_tuple(Input, (topic, partition, offset, timestamp_ms, event)))
            offsets[TopicPartition(*place)] = offset + 1
        return {partition: batch for partition, batch in inputs.items() if batch}, dead, offsets

    def _process(self, partition: int, batch: list[Input]) -> list[Message]:
        held = self._held[partition]
        try:
            return self._router.messages(held.stage.process(batch), partition)
        except DependencyError:  # what the stage depends on is away (an artifact's disk, say): no bug of the stage
            raise
        except Exception as error:  # a bug may be anything; it stops the worker, and no data is thrown away for it
            _log.error("stage bug, looking for the input that shows it", stage=self.stage, partition=partition)
            culprit = find_culprit(lambda: self._recovery.recover(partition, held.offsets).stage, batch)
            last = batch[-1]
            where = "" if culprit else f" (somewhere in the batch from there to {last.topic} offset {last.offset})"
            at = culprit or batch[0]
            problem = f"{type(error).__name__}: {error}{where}"
            raise StageBugError(self.stage, at.topic, partition, at.offset, problem) from error

    def _advance(self, offsets: Mapping[TopicPartition, int]) -> None:
        for (topic, partition), offset in offsets.items():
            held = self._held[partition]
            held.offsets[topic] = offset
            held.changed = True

    def _count(self, records: int, dead: int, process_s: float) -> None:
        telemetry, stage = self._telemetry, self.stage
        telemetry.count(CounterName.RECORDS, records, stage=stage)
        if dead:
            telemetry.count(CounterName.DEAD_LETTERS, dead, stage=stage)
        telemetry.observe(HistogramName.BATCH_SECONDS, process_s, stage=stage)
