"""Transactions of one member: all of a batch's outputs and offsets, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata
from kafka.structs import TopicPartition as KafkaPartition

from penstock.errors import LogError, LogUnavailableError
from penstock.log.bounded_calls import within
from penstock.log.kafka_admin import open_client
from penstock.log.kafka_config import client_config
from penstock.log.kafka_errors import is_retriable, log_error
from penstock.log.kafka_options import KafkaOptions
from penstock.log.kafka_watchdog import Watchdog
from penstock.log.port import Message

BATCH_BYTES = 131_072
MAX_MESSAGE_BYTES = 1_048_576
MAX_BLOCK_MS = 10_000
#: One try of adding offsets, which takes milliseconds where the coordinator is there. After one that does not come
#: back the next may take twice as long, up to the request time-out: a coordinator may be slow for good.
FIRST_TRY_S = 3.0


class DisplacedError(Exception):
    """Another producer of the same name, or another member, has taken over: this one can never commit again."""


class StaleGenerationError(Exception):
    """The group has moved on to another generation; nothing was written. With fresh metadata it may work."""


class TransactionalProducer:
    """Owns the transactional id; taking it fences a former holder and aborts what that left open.

    Not thread-safe. A producer that is beyond repair is replaced at the next call.

    Raises, when it is made: ``LogUnavailableError``, ``LogError``.
    """

    def __init__(self, options: KafkaOptions, transactional_id: str, watchdog: Watchdog) -> None:
        self._options, self._id, self._watchdog = options, transactional_id, watchdog
        self._try_s = FIRST_TRY_S
        self._producer: KafkaProducer | None = self._open()

    def commit(
        self,
        sends: Sequence[tuple[KafkaPartition, Message]],
        offsets: Mapping[KafkaPartition, int],
        group: ConsumerGroupMetadata,
    ) -> None:
        """Write ``sends`` and set the ``offsets`` of ``group`` in one transaction.

        1. Begin.
        2. Send all; one that the client refuses (too large) ends it here.
        3. Add the offsets, always with the group's metadata: a bare name would fence nobody. The call does not return
           while the coordinator is away: it is left behind, and the producer with it.
        4. Wait for all acknowledgements and look at each: the client would commit what is left of a batch.
        5. Commit. From here on the outcome is the broker's: a call that does not return is the watchdog's.

        Before 5 every failure aborts.

        Raises:
            DisplacedError, StaleGenerationError: nothing was written.
            LogUnavailableError: nothing was written; the same call may be repeated.
            LogError: the cluster or the client refused; nothing was written.
        """
        producer = self._producer = self._producer or self._open()
        try:
            # 1.
            producer.begin_transaction()
            # 2.
            futures = [send(producer, where, message) for where, message in sends]
            # 3.
            if offsets:
                placed = {where: OffsetAndMetadata(offset, "", -1) for where, offset in offsets.items()}
                within(self._try_s, partial(producer.send_offsets_to_transaction, placed, group))
                self._try_s = FIRST_TRY_S
            # 4.
            producer.flush(timeout=self._options.transaction_timeout_ms / 1000)
            for future in futures:
                future.get(timeout=0)
        except kafka_errors.KafkaError as error:
            raise self._aborted(producer, error) from error
        except TimeoutError:
            self._try_s = min(2 * self._try_s, self._options.request_timeout_ms / 1000)
            silent = kafka_errors.KafkaTimeoutError("no answer to offsets that were added to a transaction")
            raise self._given_up(producer, silent) from None
        # 5.
        try:
            with self._watchdog.guard("commit_transaction"):
                producer.commit_transaction()
        except kafka_errors.KafkaError as error:
            raise self._given_up(producer, error) from error

    def close(self) -> None:
        """Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            end_producer(producer)

    def _open(self) -> KafkaProducer:
        producer = open_client(self._options, KafkaProducer, _config(self._options, self._id))
        try:
            with self._watchdog.guard("init_transactions"):
                producer.init_transactions()
        except kafka_errors.KafkaError as error:
            end_producer(producer)
            raise log_error(self._options, f"taking the transactional id {self._id}", error) from error
        return producer

    def _aborted(self, producer: KafkaProducer, error: kafka_errors.KafkaError) -> Exception:
        if isinstance(error, kafka_errors.KafkaTimeoutError):  # what was sent may still be under way
            return self._given_up(producer, error)
        try:
            with self._watchdog.guard("abort_transaction"):
                producer.abort_transaction()
        except kafka_errors.KafkaError as failed:
            return self._given_up(producer, failed)
        return self._why(error)

    def _given_up(self, producer: KafkaProducer, error: kafka_errors.KafkaError) -> Exception:
        """End a producer that cannot go on; the next one of its name aborts what this one left open."""
        cause = producer._transaction_manager.last_error or error
        end_producer(producer)
        self._producer = None
        return self._why(cause)

    def _why(self, error: Exception) -> Exception:
        if isinstance(error, _DISPLACED):
            return DisplacedError(str(error))
        if isinstance(error, kafka_errors.CommitFailedError):
            return StaleGenerationError(str(error))
        if isinstance(error, kafka_errors.MessageSizeTooLargeError):
            return LogError(
                f"kafka at {self._options.bootstrap}: a record is larger than the largest message (1 MiB); "
                "nothing was written"
            )
        if is_retriable(error):
            return log_error(self._options, "the transaction", error)
        return LogUnavailableError(
            f"kafka at {self._options.bootstrap}: the transaction failed and was aborted ({error})"
        )


_DISPLACED = (
    kafka_errors.ProducerFencedError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.FencedInstanceIdError,
)


def end_producer(producer: KafkaProducer) -> None:
    """End it without waiting for what it holds: ``close`` alone would wait, and leave its thread behind."""
    producer._sender.force_close()
    producer._sender.join(1.0)
    producer._unregister_cleanup()
    producer._closed = True


def producer_config(options: KafkaOptions, delivery_timeout_ms: int, linger_ms: int) -> dict[str, Any]:
    """What the producers of transactions and of plain appends have in common."""
    return client_config(options) | {
        "delivery_timeout_ms": delivery_timeout_ms,
        "linger_ms": linger_ms,
        # the client insists on time for one request at least
        "request_timeout_ms": min(options.request_timeout_ms, delivery_timeout_ms - linger_ms),
        "acks": "all",
        "enable_idempotence": True,
        "batch_size": BATCH_BYTES,
        "max_request_size": MAX_MESSAGE_BYTES,
        "max_block_ms": MAX_BLOCK_MS,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


def _config(options: KafkaOptions, transactional_id: str) -> dict[str, Any]:
    return producer_config(options, options.transaction_timeout_ms, linger_ms=0) | {
        "transactional_id": transactional_id,
        "transaction_timeout_ms": options.transaction_timeout_ms,
    }


def size_of(options: KafkaOptions, message: Message) -> int:
    """The most bytes that ``message`` takes. Raises ``LogError`` where that is more than a message may have."""
    key, value, headers = message.key, message.value, list(message.headers)
    size = int(DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers))
    if size > MAX_MESSAGE_BYTES:
        raise LogError(
            f"kafka at {options.bootstrap}: a record for {message.topic} has {size} bytes, and a message may have "
            f"{MAX_MESSAGE_BYTES}; nothing was written"
        )
    return size


def send(producer: KafkaProducer, where: KafkaPartition, message: Message) -> Any:
    """Hand ``message`` to the client; the future of its acknowledgement. Raises errors of the client."""
    return producer.send(
        where.topic, message.value, key=message.key, headers=list(message.headers), partition=where.partition
    )
