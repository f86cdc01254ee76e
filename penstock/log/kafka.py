"""The log on a Kafka cluster, by kafka-python."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from kafka import KafkaConsumer
from kafka import errors as kafka_errors

from penstock.errors import LogError, OffsetOutOfRangeError
from penstock.log import kafka_topics
from penstock.log.kafka_admin import open_client
from penstock.log.kafka_append import Appender
from penstock.log.kafka_cluster import Cluster
from penstock.log.kafka_config import client_config
from penstock.log.kafka_errors import log_error
from penstock.log.kafka_membership import KafkaMembership
from penstock.log.kafka_options import KafkaOptions
from penstock.log.kafka_range import RangeReader
from penstock.log.kafka_tail import KafkaTail
from penstock.log.port import Bounds, Message, OnPartitions, Record, TopicConfig, TopicPartition


class KafkaPythonLog:
    """See ``Log``. Connects at the first call; all calls end in bounded time while the cluster is away.

    Members are static, so a restart of the same name takes its place back at once. What a transaction has written is
    visible a few milliseconds after ``commit`` has returned. ``bounds().end`` is the last stable offset: an open
    transaction holds it back.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._cluster = Cluster(options)
        self._appender = Appender(options)
        self._range = RangeReader(self._cluster)
        self._lock = threading.Lock()
        self._groups: dict[str, KafkaConsumer] = {}

    def ensure_topics(self, topics: Sequence[TopicConfig]) -> None:
        """See ``Log.ensure_topics``."""
        kafka_topics.ensure_topics(self._options, topics)

    def partitions(self, topic: str) -> int:
        """See ``Log.partitions``."""
        return self._cluster.partitions(topic)

    def append(self, messages: Sequence[Message]) -> list[int]:
        """See ``Log.append``."""
        return self._appender.append([(self._cluster.target(message), message) for message in messages])

    def join(
        self, group: str, topics: Sequence[str], member: str, on_assigned: OnPartitions, on_revoked: OnPartitions
    ) -> KafkaMembership:
        """See ``Log.join``. Raises ``LogError`` where the topics are not co-partitioned."""
        if len({self._cluster.partitions(topic) for topic in topics}) != 1:
            raise LogError(f"group {group}: its topics {', '.join(topics)} must have equal partition counts")
        return KafkaMembership(self._cluster, group, topics, member, on_assigned, on_revoked)

    def read(self, partition: TopicPartition, start: int, stop: int, max_records: int) -> list[Record]:
        """See ``Log.read``."""
        bounds = self._cluster.bounds(partition)
        if start < bounds.first:
            raise OffsetOutOfRangeError(*partition, start, *bounds)
        return self._range.read(partition, start, min(stop, bounds.end), max_records)

    def bounds(self, partition: TopicPartition) -> Bounds:
        """See ``Log.bounds``."""
        return self._cluster.bounds(partition)

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """See ``Log.committed``. Waits for transactions that are about to end."""
        where = self._cluster.physical(partition)
        try:
            offset = self._consumer_of(group).committed(where, timeout_ms=self._options.request_timeout_ms)
        except kafka_errors.KafkaError as error:
            raise log_error(self._options, f"asking what {group} has committed", error) from error
        return None if offset is None or offset < 0 else int(offset)

    def tail(self, topics: Sequence[str], *, from_start: bool) -> KafkaTail:
        """See ``Log.tail``."""
        return KafkaTail(self._cluster, topics, from_start=from_start)

    def close(self) -> None:
        """See ``Log.close``."""
        with self._lock:
            consumers, self._groups = list(self._groups.values()), {}
        for consumer in consumers:
            consumer.close(autocommit=False, timeout_ms=1000)
        self._range.close()
        self._appender.close()
        self._cluster.close()

    def _consumer_of(self, group: str) -> KafkaConsumer:
        """One that only asks: it never joins the group."""
        with self._lock:
            if group not in self._groups:
                config = client_config(self._options) | {
                    "group_id": group,
                    "enable_auto_commit": False,
                    "isolation_level": "read_committed",  # offsets of open transactions do not count
                    "metrics_enabled": False,
                }
                self._groups[group] = open_client(self._options, KafkaConsumer, config)
            return self._groups[group]
