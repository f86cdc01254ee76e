"""The one root of errors.

Policy is a class attribute, so that callers decide by type and never by text: ``exit_code`` is what the
command line returns, ``retriable`` says whether the same call may succeed later without a change.
"""

from __future__ import annotations

from typing import ClassVar


class PenstockError(Exception):
    """Root of every error that Penstock raises on purpose. Its text is one line for people."""

    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = False


class UsageError(PenstockError):
    """The caller asked for something that cannot be: a wrong option, file, column or name (exit 2)."""

    exit_code: ClassVar[int] = 2


class SpecError(UsageError):
    """A pipeline file is missing, does not load or contradicts itself (exit 2)."""


class DependencyError(PenstockError):
    """Something that Penstock depends on is unavailable or does not fit (exit 3)."""

    exit_code: ClassVar[int] = 3


class LogError(DependencyError):
    """The event log refused or failed an operation."""


class UnknownTopicError(LogError):
    """A topic or partition that the log does not have."""

    def __init__(self, topic: str, partition: int | None = None) -> None:
        self.topic = topic
        self.partition = partition
        where = topic if partition is None else f"{topic}/{partition}"
        super().__init__(f"{where}: no such topic or partition in the log; run `penstock doctor` to see what is there")


class OffsetOutOfRangeError(LogError):
    """A position that the log no longer holds (retention passed it) or does not hold yet."""

    def __init__(self, topic: str, partition: int, offset: int, first: int, end: int) -> None:
        self.topic, self.partition, self.offset, self.first, self.end = topic, partition, offset, first, end
        super().__init__(
            f"{topic}/{partition}: offset {offset} is outside what the log holds ({first} to {end}); "
            "raise the retention, or restore a checkpoint that is new enough"
        )


class LogUnavailableError(LogError):
    """The log cannot be reached or written now (broker away, disk full, file locked); a retry may succeed."""

    retriable: ClassVar[bool] = True


class FencedError(LogError):
    """Another process owns the partition now: nothing was written, this owner stops (exit 1: start it anew)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, group: str, partition: int) -> None:
        self.group, self.partition = group, partition
        super().__init__(f"{group}/{partition}: another process took this partition over; this one stops")


class StateMismatchError(DependencyError):
    """Checkpoints exist, but were made by another spec, library version or architecture (exit 3)."""


class UnrecoverableStateError(DependencyError):
    """Neither a checkpoint nor the log reaches back far enough to rebuild the state (exit 3)."""


class CheckpointError(DependencyError):
    """A checkpoint could not be written. The run can go on: a checkpoint is only a cache of the fold."""

    retriable: ClassVar[bool] = True


class StageBugError(PenstockError):
    """A stage raised on an input that kept its contract: a bug. Nothing was committed, no data is skipped (exit 1)."""

    def __init__(self, stage: str, topic: str, partition: int, offset: int, problem: str) -> None:
        self.stage, self.topic, self.partition, self.offset = stage, topic, partition, offset
        super().__init__(
            f"{stage}: bug at {topic}/{partition} offset {offset}: {problem}; "
            "nothing was committed: fix the stage and start again"
        )


class ArtifactError(DependencyError):
    """A model artifact is missing, tampered with, signed by another key, or does not load."""


class RegistryError(DependencyError):
    """The model registry cannot be reached or refused an operation; a retry may succeed."""

    retriable: ClassVar[bool] = True


class ClusterError(DependencyError):
    """The cluster that fits run on is away, lost its workers, or has other versions; a retry may succeed."""

    retriable: ClassVar[bool] = True


class UnknownVersionError(UsageError):
    """A version that the registry does not have (exit 2)."""


class BrokenChainError(PenstockError):
    """The chain of decisions is not whole: one was changed, dropped or put in (exit 1)."""


class ContractError(PenstockError):
    """A record breaks its contract. Goes to dead letters (streams) or becomes a 4xx (HTTP); never stops a stage.

    ``field`` is the path of what is wrong (``features.salary``), or an empty string for the whole record.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}" if field else problem)
