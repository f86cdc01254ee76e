"""Dead letters: a record that broke its contract, byte for byte, with where it was and what is wrong with it."""

from __future__ import annotations

import traceback
from typing import NamedTuple

from penstock.errors import ContractError
from penstock.log.port import Message, Record

TOPIC = "dead-letters"

#: Header names of KIP-1034 (Kafka Streams' dead-letter queue), so that its tools read ours; ``stage`` is ours.
EXCEPTION = "__streams.errors.exception"
MESSAGE = "__streams.errors.message"
STACKTRACE = "__streams.errors.stacktrace"
SOURCE_TOPIC = "__streams.errors.topic"
SOURCE_PARTITION = "__streams.errors.partition"
SOURCE_OFFSET = "__streams.errors.offset"
STAGE = "__streams.errors.stage"
NAMES = frozenset((EXCEPTION, MESSAGE, STACKTRACE, SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET, STAGE))


class Source(NamedTuple):
    """Where a dead letter was read: a place in the log, which no other record ever has."""

    topic: str
    partition: int
    offset: int


class DeadLetter(NamedTuple):
    """A record of ``dead-letters``, read. ``source`` None: it does not say where it was, so it cannot be replayed."""

    record: Record
    stage: str
    exception: str
    message: str
    source: Source | None

    def original(self) -> Message:
        """The record as it was, for the topic and partition that it was in (joins depend on the partition).

        Raises:
            ValueError: there is no ``source``.
        """
        if self.source is None:
            raise ValueError(f"dead letter {self.record.offset} has no source")
        headers = tuple(header for header in self.record.headers if header[0] not in NAMES)
        return Message(self.source.topic, self.record.key, self.record.value, self.source.partition, headers)


def dead_letter(record: Record, error: ContractError, stage: str) -> Message:
    """``record`` as a message for ``dead-letters``: key, value and headers as they were, then the error's headers.

    A record that was dead-lettered, replayed and is wrong again carries the new headers only, not both.
    """
    own = (
        (EXCEPTION, type(error).__name__.encode()),
        (MESSAGE, str(error).encode()),
        (STACKTRACE, _stacktrace(error).encode()),
        (SOURCE_TOPIC, record.topic.encode()),
        (SOURCE_PARTITION, str(record.partition).encode()),
        (SOURCE_OFFSET, str(record.offset).encode()),
        (STAGE, stage.encode()),
    )
    kept = tuple(header for header in record.headers if header[0] not in NAMES)
    return Message(TOPIC, record.key, record.value, 0, kept + own)


def read_dead_letter(record: Record) -> DeadLetter:
    """What the headers of a record of ``dead-letters`` say; what they do not say is empty."""
    said = {name: value.decode(errors="replace") for name, value in record.headers if name in NAMES}
    topic, partition, offset = (said.get(name, "") for name in (SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET))
    known = bool(topic) and partition.isdecimal() and offset.isdecimal()
    source = Source(topic, int(partition), int(offset)) if known else None
    return DeadLetter(record, said.get(STAGE, ""), said.get(EXCEPTION, ""), said.get(MESSAGE, ""), source)


def _stacktrace(error: ContractError) -> str:
    """Innermost call first. File names without folders: where the program is installed is nobody's business."""
    calls = [
        f"\tat {frame.f_code.co_name}({frame.f_code.co_filename.rpartition('/')[2]}:{line})"
        for frame, line in traceback.walk_tb(error.__traceback__)  # not extract_tb, which reads the source files
    ]
    return "\n".join([f"{type(error).__name__}: {error}", *reversed(calls)])
