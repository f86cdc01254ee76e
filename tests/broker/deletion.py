"""Records of a topic are deleted, as retention would.

By kafka-python: librdkafka 2.16 may crash the process that asks (`rd_kafka_cgrp_op` of an admin client, which
has no group).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient


def delete_records(bootstrap: str, topic: str, before: Mapping[int, int]) -> None:
    """Delete what comes before an offset, per partition of ``topic`` (its name in the cluster)."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.delete_records({TopicPartition(topic, number): offset for number, offset in before.items()}, 30_000)
