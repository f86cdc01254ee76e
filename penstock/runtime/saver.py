"""When checkpoints are written: often enough to recover quickly, never so often that they cost much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from penstock.clock import Clock
from penstock.errors import CheckpointError, StageBugError
from penstock.runtime.checkpoint import Checkpoint, CheckpointStore, StateIdentity
from penstock.runtime.stage import Stage, StatefulStage
from penstock.telemetry import GaugeName, Telemetry

_log = structlog.get_logger()


@dataclass(slots=True)
class Held:
    """A partition's stage, and the offsets (topic: next) that its state has come to.

    ``due_s``: not before this time is the next checkpoint wanted. ``changed``: there is something new to save.
    """

    stage: Stage
    offsets: dict[str, int]
    due_s: float
    changed: bool = False


class Saver:
    """Writes the checkpoints of one loop's partitions.

    A partition's checkpoint is due ``every_s`` after its last one. One that took c seconds to make and write puts off
    all others of the loop by c / ``share``, so together they take at most that share of its time.
    """

    def __init__(
        self,
        stage: str,
        checkpoints: CheckpointStore | None,
        identity: StateIdentity,
        clock: Clock,
        telemetry: Telemetry,
        reached: Callable[[str], None],
        every_s: float,
        share: float,
    ) -> None:
        self._stage, self._checkpoints, self._identity = stage, checkpoints, identity
        self._clock, self._telemetry, self._reached = clock, telemetry, reached
        self._every_s, self._share = every_s, share
        self._affordable_s = -math.inf

    def save_due(self, held: Mapping[int, Held], now_s: float) -> None:
        """Save what is due. The longest due comes first, so that no partition waits for ever."""
        for due_s, partition in sorted((one.due_s, partition) for partition, one in held.items()):
            if now_s >= max(due_s, self._affordable_s):
                self.save(partition, held[partition])

    def save(self, partition: int, held: Held) -> None:
        """Write a checkpoint if there is anything new. One that cannot be written costs replay later, not the run.

        Raises:
            StageBugError: the stage cannot say what its state is.
        """
        if self._checkpoints is None or not isinstance(held.stage, StatefulStage):
            held.due_s = math.inf
            return
        if not held.changed:
            return
        self._reached("before_checkpoint")
        started = self._clock.monotonic_s()
        checkpoint = Checkpoint(
            self._stage, partition, self._identity, dict(held.offsets), self._state(held.stage, partition, held.offsets)
        )
        try:
            size = self._checkpoints.write(checkpoint)
        except CheckpointError as error:
            _log.error("checkpoint not written", stage=self._stage, partition=partition, why=str(error))
        else:
            held.changed = False
            self._telemetry.gauge(GaugeName.CHECKPOINT_BYTES, size, stage=self._stage)
        now = self._clock.monotonic_s()
        held.due_s = now + self._every_s
        self._affordable_s = now + (now - started) / self._share
        self._reached("after_checkpoint")

    def _state(self, stage: StatefulStage, partition: int, offsets: Mapping[str, int]) -> bytes:
        try:
            return stage.state()
        except Exception as error:  # whatever keeps a state from being saved is a bug of the stage
            topic, offset = max(offsets.items())
            problem = f"its state cannot be saved ({type(error).__name__}: {error})"
            raise StageBugError(self._stage, topic, partition, offset, problem) from error
