"""The log on Kafka by librdkafka (confluent-kafka): what runs the stages in production."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import LogError, UnknownTopicError
from penstock.log import kafka_topics
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_catalog import Catalog
from penstock.log.librdkafka_membership import LibrdkafkaMembership
from penstock.log.librdkafka_place import Seat
from penstock.log.librdkafka_producer import Appender
from penstock.log.librdkafka_reader import ReaderPool
from penstock.log.librdkafka_tail import LibrdkafkaTail
from penstock.log.port import Bounds, Message, OnPartitions, Record, TopicConfig, TopicPartition


class LibrdkafkaLog:
    """All of the log port on a Kafka cluster. Thread-safe; opening one connects to nothing.

    Every call ends in bounded time: where the cluster does not answer, with ``LogUnavailableError`` after the request
    time-out; where it refuses credentials, certificates or rights, with ``LogError``.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._catalog = Catalog(options)
        self._appender = Appender(options, self._catalog)
        self._readers = ReaderPool(options, self._catalog)

    def ensure_topics(self, topics: Sequence[TopicConfig]) -> None:
        """See ``Log.ensure_topics``."""
        kafka_topics.ensure_topics(self._options, topics)

    def partitions(self, topic: str) -> int:
        """See ``Log.partitions``."""
        return self._catalog.partitions(topic)

    def append(self, messages: Sequence[Message]) -> list[int]:
        """See ``Log.append``."""
        return self._appender.append(messages)

    def join(
        self, group: str, topics: Sequence[str], member: str, on_assigned: OnPartitions, on_revoked: OnPartitions
    ) -> LibrdkafkaMembership:
        """See ``Log.join``. Raises ``LogError`` where the topics are not co-partitioned."""
        counts = {self._catalog.partitions(topic) for topic in topics}
        if len(counts) != 1:
            raise LogError(f"group {group}: its topics {', '.join(topics)} must have equal partition counts")
        seat = Seat(self._options, group, tuple(topics), member)
        return LibrdkafkaMembership(seat, self._catalog, on_assigned, on_revoked)

    def read(self, partition: TopicPartition, start: int, stop: int, max_records: int) -> list[Record]:
        """See ``Log.read``."""
        return self._readers.read(partition, start, stop, max_records)

    def bounds(self, partition: TopicPartition) -> Bounds:
        """See ``Log.bounds``. ``end`` is the last stable offset: an open transaction holds it back."""
        return self._catalog.bounds(partition)

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """See ``Log.committed``."""
        try:
            self._catalog.check(partition)
        except UnknownTopicError:
            return None
        return self._catalog.committed(group, partition)

    def tail(self, topics: Sequence[str], *, from_start: bool) -> LibrdkafkaTail:
        """See ``Log.tail``."""
        return LibrdkafkaTail(self._options, self._catalog, topics, from_start=from_start)

    def close(self) -> None:
        """See ``Log.close``. Members and tails have connections of their own and are closed by who opened them."""
        self._appender.close()
        self._readers.close()
        self._catalog.close()
