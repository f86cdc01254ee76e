"""Appends: an idempotent producer, a cap on what is in flight, and a fresh producer after one that gave up."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from penstock.errors import LogError, LogUnavailableError
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_catalog import Catalog, open_client
from penstock.log.librdkafka_config import append_config
from penstock.log.librdkafka_errors import Complaints, error_of, log_error
from penstock.log.port import Message

_log = structlog.get_logger()

#: What a record costs beside its key, value and headers.
RECORD_OVERHEAD_BYTES = 100
_POLL_S = 0.5
_GRACE_S = 5.0


class _Append:
    """One call: which offsets came, and what went wrong first. The last report wakes the caller."""

    __slots__ = ("done", "error", "missing", "offsets")

    def __init__(self, count: int) -> None:
        self.offsets = [-1] * count
        self.missing = count
        self.error: KafkaError | None = None
        self.done = threading.Event()

    def reported(self, index: int, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        """Called by the lane's one thread."""
        if error is None:
            self.offsets[index] = message.offset() or 0
        else:
            self.error = self.error or error
        self.missing -= 1
        if not self.missing:
            self.done.set()


class _Lane:
    """One producer and the thread that serves its delivery reports."""

    def __init__(self, options: KafkaOptions) -> None:
        self.complaints = Complaints()
        config = append_config(options, self.complaints)
        self._producer = open_client(options, lambda: Producer(config))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="penstock-append", daemon=True)
        self._thread.start()

    def send(self, targets: Sequence[tuple[str, int]], messages: Sequence[Message]) -> _Append:
        """Put all of ``messages`` into the producer's queue. Raises ``KafkaException`` or ``BufferError``."""
        append = _Append(len(messages))
        produce = self._producer.produce
        for index, ((topic, partition), message) in enumerate(zip(targets, messages, strict=True)):
            produce(
                topic,
                message.value,
                message.key,
                partition,
                on_delivery=partial(append.reported, index),
                headers=list(message.headers) or None,
            )
        return append

    def close(self) -> None:
        """Give up what is in flight; its callers are told."""
        self._producer.purge()
        self._closing.set()

    def join(self) -> None:
        """Wait for the thread."""
        self._thread.join(_GRACE_S)

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(_POLL_S)
        self._producer.flush(_GRACE_S)


class Appender:
    """See ``Log.append``. Thread-safe: calls wait for their acknowledgements side by side, and share batches."""

    def __init__(self, options: KafkaOptions, catalog: Catalog) -> None:
        self._options, self._catalog = options, catalog
        self._lane: _Lane | None = None
        self._lock = threading.Lock()
        self._in_flight = 0

    def append(self, messages: Sequence[Message]) -> list[int]:
        """See ``Log.append``.

        Raises:
            UnknownTopicError: nothing was written.
            LogUnavailableError: too much is in flight (nothing was written), or it was not acknowledged in time.
            LogError: a record is larger than Kafka takes (nothing was written), or the cluster refused.
        """
        if not messages:
            return []
        targets = self._catalog.targets(messages)
        size = sum(size_of(message) for message in messages)
        with self._lock:  # not while waiting: what one call sends stands together, and many are in flight
            if self._in_flight and self._in_flight + size > self._options.ingress_bytes:
                raise LogUnavailableError(
                    f"kafka at {self._options.bootstrap}: {self._in_flight:,} bytes are not acknowledged yet; "
                    "is the broker up? try again later"
                )
            lane = self._lane = self._lane or _Lane(self._options)
            try:
                append = lane.send(targets, messages)
            except (KafkaException, BufferError) as exception:
                raise self._refused(lane, messages, exception) from exception
            self._in_flight += size
        timeout_s = self._options.delivery_timeout_ms / 1000 + _GRACE_S
        try:
            reported = append.done.wait(timeout_s)
        finally:
            with self._lock:
                self._in_flight -= size
        if reported and append.error is None:
            return append.offsets
        self._retire(lane)
        error = append.error or KafkaError(KafkaError._TIMED_OUT)
        raise log_error(self._options, "the acknowledgement of an append", error, lane.complaints)

    def close(self) -> None:
        """Stop the thread. Calls that still wait are told. Idempotent."""
        with self._lock:
            lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()
            lane.join()

    def _retire(self, lane: _Lane) -> None:
        """A producer that gave a record up has a hole in its sequence: the next call gets a fresh one."""
        with self._lock:
            if self._lane is lane:
                self._lane = None
        _log.warning("a producer gave up and is replaced", bootstrap=self._options.bootstrap)
        lane.close()

    def _refused(self, lane: _Lane, messages: Sequence[Message], exception: Exception) -> LogError:
        """``produce`` refused a record: those before it in the same call may be on their way."""
        if isinstance(exception, KafkaException):
            error = error_of(exception)
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                largest = max(len(message.value) for message in messages)
                return LogError(f"append: a record of {largest:,} bytes is larger than Kafka takes")
            return log_error(self._options, "an append", error, lane.complaints)
        return LogUnavailableError(f"kafka at {self._options.bootstrap}: too much is not acknowledged yet")


def size_of(message: Message) -> int:
    """About what ``message`` costs in memory, in bytes."""
    size = len(message.value) + len(message.key or b"") + RECORD_OVERHEAD_BYTES
    for name, value in message.headers:
        size += len(name) + len(value)
    return size
