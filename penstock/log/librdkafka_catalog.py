"""What a cluster says about topics, partitions and groups, by one admin client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from penstock.errors import LogError, UnknownTopicError
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_config import client_config, reader_config
from penstock.log.librdkafka_errors import OUTDATED, Complaints, error_of, log_error, passes
from penstock.log.partitioner import partition_for
from penstock.log.port import Bounds, Message, TopicPartition
from penstock.topology import physical_name

_T = TypeVar("_T")
_PAUSE_S = 0.05
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Catalog:
    """Answers are remembered where they cannot change: partition counts. Thread-safe; connects when first asked.

    Every method raises ``LogUnavailableError`` where the cluster does not answer within the request time-out, and
    ``LogError`` where it refuses.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._complaints = Complaints()
        self._admin: AdminClient | None = None
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def physical(self, topic: str) -> str:
        """The name of ``topic`` in the cluster."""
        return physical_name(self._options.pipeline, topic)

    def place(self, partition: TopicPartition, offset: int = OFFSET_BEGINNING) -> confluent_kafka.TopicPartition:
        """``offset`` of ``partition``, in the client's terms."""
        return confluent_kafka.TopicPartition(self.physical(partition.topic), partition.partition, offset)

    def partitions(self, topic: str) -> int:
        """How many partitions ``topic`` has. Raises ``UnknownTopicError``."""
        count = self._counts.get(topic)
        if count is None:
            name = self.physical(topic)
            # All topics: to ask for one by name may create it.
            found = self._call("listing topics", lambda left: self._client().list_topics(timeout=left)).topics.get(name)
            if found is None or found.error is not None or not found.partitions:
                raise UnknownTopicError(topic)
            count = self._counts[topic] = len(found.partitions)
        return count

    def check(self, partition: TopicPartition) -> None:
        """Raises ``UnknownTopicError`` where there is no such ``partition``."""
        if not 0 <= partition.partition < self.partitions(partition.topic):
            raise UnknownTopicError(*partition)

    def targets(self, messages: Sequence[Message]) -> list[tuple[str, int]]:
        """Where each of ``messages`` goes (name in the cluster, partition). Raises ``UnknownTopicError``."""
        targets = []
        names: dict[str, tuple[str, int]] = {}
        for topic, key, _, number, _ in messages:
            known = names.get(topic)
            if known is None:
                known = names[topic] = (self.physical(topic), self.partitions(topic))
            name, count = known
            if number is None:
                number = partition_for(key, count)
            elif not 0 <= number < count:
                raise UnknownTopicError(topic, number)
            targets.append((name, number))
        return targets

    def bounds(self, partition: TopicPartition) -> Bounds:
        """The oldest offset and the last stable one. Raises ``UnknownTopicError``."""
        return self.bounds_of([partition])[partition]

    def bounds_of(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """The bounds of several. Raises ``UnknownTopicError``."""
        for partition in partitions:
            self.check(partition)
        where = [confluent_kafka.TopicPartition(self.physical(topic), number) for topic, number in partitions]

        def ask(left: float) -> dict[TopicPartition, Bounds]:
            earliest, latest = (
                self._client().list_offsets(
                    dict.fromkeys(where, spec), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=left
                )
                for spec in (_EARLIEST, _LATEST)
            )
            return {
                partition: Bounds(earliest[w].result(left + 1.0).offset, latest[w].result(left + 1.0).offset)
                for partition, w in zip(partitions, where, strict=True)
            }

        return self._call("asking for offsets", ask)

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """The committed offset of ``group``, once no transaction is open on it."""
        where = confluent_kafka.TopicPartition(self.physical(partition.topic), partition.partition)
        config = reader_config(self._options, self._complaints, reset="error") | {"group.id": group}
        # Not the admin client: librdkafka 2.16 crashes where that one's coordinator moves (it has no group to tell).
        consumer = open_client(self._options, lambda: Consumer(config))

        def ask(left: float) -> int | None:
            (answer,) = consumer.committed([where], left)
            if answer.error is not None:
                raise KafkaException(answer.error)
            return answer.offset if answer.offset >= 0 else None

        try:
            return self._call(f"asking for the offsets of group {group}", ask)
        finally:
            consumer.close()

    def close(self) -> None:
        """Forget the client; its threads end with it."""
        with self._lock:
            self._admin = None

    def _client(self) -> AdminClient:
        with self._lock:
            if self._admin is None:
                config = client_config(self._options, self._complaints)
                self._admin = open_client(self._options, lambda: AdminClient(config))
            return self._admin

    def _call(self, what: str, ask: Callable[[float], _T]) -> _T:
        """``ask`` gets the seconds that are left; it is asked again while errors pass."""
        deadline = time.monotonic() + self._options.request_timeout_ms / 1000
        while True:
            left = max(0.1, deadline - time.monotonic())
            try:
                return ask(left)
            except KafkaException as exception:
                error = error_of(exception)
            except FutureTimeoutError:
                error = KafkaError(KafkaError._TIMED_OUT)
            self._client().poll(0)  # its complaints are heard there
            refused = self._complaints.refusal is not None
            if refused or not passes(error) or time.monotonic() + _PAUSE_S >= deadline:
                raise log_error(self._options, what, error, self._complaints)
            if error.code() in OUTDATED:
                self.close()
            time.sleep(_PAUSE_S)


def open_client(options: KafkaOptions, make: Callable[[], _T]) -> _T:
    """A client of librdkafka. Raises ``LogError`` where its settings cannot be used (a certificate file, mostly)."""
    try:
        return make()
    except (KafkaException, ValueError) as error:
        text = error_of(error).str() if isinstance(error, KafkaException) else str(error)
        raise LogError(f"kafka at {options.bootstrap}: the settings cannot be used ({text})") from error
