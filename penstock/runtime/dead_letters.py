"""Dead letters: a record that broke its contract, byte for byte, with where it was and what is wrong with it."""

from __future__ import annotations

from penstock.errors import ContractError
from penstock.log.port import Message, Record

TOPIC = "dead-letters"

#: Header names of KIP-1034 (Kafka Streams' dead-letter queue), so that its tools read ours; ``stage`` is ours.
EXCEPTION = "__streams.errors.exception"
MESSAGE = "__streams.errors.message"
SOURCE_TOPIC = "__streams.errors.topic"
SOURCE_PARTITION = "__streams.errors.partition"
SOURCE_OFFSET = "__streams.errors.offset"
STAGE = "__streams.errors.stage"


def dead_letter(record: Record, error: ContractError, stage: str) -> Message:
    """``record`` as a message for ``dead-letters``: key, value and headers as they were, then the error's headers.

    A record that was dead-lettered, replayed and is wrong again carries the new headers only, not both.
    """
    own = (
        (EXCEPTION, type(error).__name__.encode()),
        (MESSAGE, str(error).encode()),
        (SOURCE_TOPIC, record.topic.encode()),
        (SOURCE_PARTITION, str(record.partition).encode()),
        (SOURCE_OFFSET, str(record.offset).encode()),
        (STAGE, stage.encode()),
    )
    names = {name for name, _ in own}
    kept = tuple(header for header in record.headers if header[0] not in names)
    return Message(TOPIC, record.key, record.value, 0, kept + own)
