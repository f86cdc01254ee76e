"""Appends outside of transactions: durable when acknowledged, in order, and bounded in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.structs import TopicPartition as KafkaPartition

from penstock.errors import LogUnavailableError
from penstock.log.kafka_admin import open_client
from penstock.log.kafka_errors import log_error
from penstock.log.kafka_options import KafkaOptions
from penstock.log.kafka_producer import end_producer, producer_config, send, size_of
from penstock.log.port import Message

LINGER_MS = 5
#: Beyond the client's own delivery timeout, for it to report.
GRACE_S = 5.0


class Appender:
    """One idempotent producer for all threads; connects at the first append.

    The client itself would take any number of records while the broker is away, so their bytes are counted here:
    what was accepted and not yet acknowledged stays below ``options.ingress_bytes``. After a delivery timeout the
    client's producer never recovers, so a new one takes its place.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._accounting, self._sending = threading.Lock(), threading.Lock()
        self._held_bytes = 0
        self._producer: KafkaProducer | None = None

    def append(self, sends: Sequence[tuple[KafkaPartition, Message]]) -> list[int]:
        """The offsets of ``sends``, which stand together in each partition.

        Raises:
            LogUnavailableError: too much is on its way already (nothing was written); or no acknowledgement came (it is
                not known whether they were written).
            LogError: a record is too large (nothing was written), or the cluster refuses.
        """
        size = sum(size_of(self._options, message) for _, message in sends)
        self._take(size)
        try:
            # one at a time, so that those of a call stand together
            with self._sending:
                producer = self._producer = self._producer or self._open()
                futures = [send(producer, where, message) for where, message in sends]
            deadline = time.monotonic() + self._options.delivery_timeout_ms / 1000 + GRACE_S
            return [int(future.get(timeout=max(0.0, deadline - time.monotonic())).offset) for future in futures]
        except kafka_errors.KafkaError as error:
            self._replace(producer)
            raise log_error(self._options, "appending", error) from error
        finally:
            self._take(-size)

    def close(self) -> None:
        """Idempotent. Appends that are under way fail."""
        with self._sending:
            producer, self._producer = self._producer, None
        if producer is not None:
            end_producer(producer)

    def _take(self, size: int) -> None:
        with self._accounting:
            held = self._held_bytes + size
            if size > 0 and held > self._options.ingress_bytes:
                raise LogUnavailableError(
                    f"kafka at {self._options.bootstrap}: {self._held_bytes} bytes wait for their acknowledgement, and "
                    f"{self._options.ingress_bytes} are the limit (PENSTOCK_KAFKA_INGRESS_BYTES); try again later"
                )
            self._held_bytes = held

    def _open(self) -> KafkaProducer:
        config = producer_config(self._options, self._options.delivery_timeout_ms, LINGER_MS)
        return open_client(self._options, KafkaProducer, config)

    def _replace(self, failed: KafkaProducer) -> None:
        with self._sending:
            if self._producer is failed:
                self._producer = None
        end_producer(failed)
