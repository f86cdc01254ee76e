"""What the parts of the kafka-python adapter ask the cluster: partitions, bounds, members. One admin client for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from kafka import KafkaAdminClient
from kafka import TopicPartition as KafkaPartition
from kafka.admin import MemberToRemove, OffsetSpec
from kafka.errors import GroupIdNotFoundError, KafkaError, UnknownTopicOrPartitionError
from kafka.protocol.consumer import IsolationLevel

from penstock.errors import UnknownTopicError
from penstock.log.kafka_admin import open_client, until_settled
from penstock.log.kafka_config import client_config
from penstock.log.kafka_errors import log_error
from penstock.log.kafka_options import KafkaOptions
from penstock.log.kafka_topics import counts_of
from penstock.log.partitioner import partition_for
from penstock.log.port import Bounds, Message, TopicPartition
from penstock.topology import physical_name

_T = TypeVar("_T")


class Cluster:
    """Answers questions about one pipeline's topics and groups; connects at the first one. Thread-safe.

    Partition counts are asked once: they do not change under a pipeline. Every method raises ``LogUnavailableError``
    while the cluster is away, and ``LogError`` where it refuses.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._admin: KafkaAdminClient | None = None
        self._counts: dict[str, int] = {}

    def partitions(self, topic: str) -> int:
        """How many partitions ``topic`` has. Raises ``UnknownTopicError``."""
        count = self._counts.get(topic)
        if count is None:
            found = self._ask(f"looking up {topic}", lambda admin: counts_of(self.options, admin, [topic]))
            if topic not in found:
                raise UnknownTopicError(topic)
            count = self._counts[topic] = found[topic]
        return count

    def physical(self, partition: TopicPartition) -> KafkaPartition:
        """What the cluster calls ``partition``. Raises ``UnknownTopicError``."""
        topic, number = partition
        if not 0 <= number < self.partitions(topic):
            raise UnknownTopicError(topic, number)
        return KafkaPartition(physical_name(self.options.pipeline, topic), number)

    def target(self, message: Message) -> KafkaPartition:
        """Where ``message`` goes. Raises ``UnknownTopicError``."""
        number = message.partition
        if number is None:
            number = partition_for(message.key, self.partitions(message.topic))
        return self.physical(TopicPartition(message.topic, number))

    def bounds(self, partition: TopicPartition) -> Bounds:
        """The oldest offset, and the last stable one: what readers of committed records can come to."""
        where = self.physical(partition)

        def ask(admin: KafkaAdminClient) -> Bounds:
            first, end = (
                admin.list_partition_offsets({where: spec}, IsolationLevel.READ_COMMITTED)[where].offset
                for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            )
            return Bounds(first, max(first, end))

        return self._ask(f"bounds of {partition.topic}", ask)

    def member_id(self, group: str, instance: str) -> str | None:
        """Who holds the static name ``instance`` in ``group`` now."""

        def ask(admin: KafkaAdminClient) -> str | None:
            members = admin.describe_groups([group])[group]["members"]
            return next((str(m["member_id"]) for m in members if m["group_instance_id"] == instance), None)

        return self._ask(f"looking up group {group}", ask)

    def remove_member(self, group: str, instance: str, member_id: str) -> None:
        """Take ``member_id`` out of ``group`` at once; leaves a successor that has its name alone."""
        member = MemberToRemove(member_id=member_id, group_instance_id=instance)

        def ask(admin: KafkaAdminClient) -> None:
            try:
                admin.remove_group_members(group, [member])
            except GroupIdNotFoundError:
                return

        self._ask(f"leaving group {group}", ask)

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def _ask(self, what: str, question: Callable[[KafkaAdminClient], _T]) -> _T:
        with self._lock:
            if self._admin is None:
                self._admin = open_client(self.options, KafkaAdminClient, client_config(self.options))
            admin = self._admin
        try:
            return until_settled(lambda: question(admin))
        except UnknownTopicOrPartitionError:
            raise
        except KafkaError as error:
            raise log_error(self.options, what, error) from error
