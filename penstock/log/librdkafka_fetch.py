"""What all readers do alike: take what has arrived, and look whether anybody still answers."""

from __future__ import annotations

import confluent_kafka
from confluent_kafka import Consumer, KafkaException

from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_errors import Complaints, error_of, log_error

PROBE_TIMEOUT_S = 1.0


def consume(consumer: Consumer, count: int, wait_s: float) -> list[confluent_kafka.Message]:
    """Up to ``count`` (≥ 1) messages as soon as there is one; none after ``wait_s``.

    The client's own call waits until all ``count`` have come.
    """
    if wait_s <= 0:
        return consumer.consume(count, 0)
    messages = consumer.consume(1, wait_s)
    if messages and count > 1:
        messages += consumer.consume(count - 1, 0)
    return messages


def check_reachable(options: KafkaOptions, consumer: Consumer, topic: str, complaints: Complaints) -> None:
    """Returns where a broker answers. To find nothing to read would hide that none does.

    Raises:
        LogUnavailableError: no broker answers now.
        LogError: the cluster refuses us.
    """
    if not complaints.unreachable and complaints.refusal is None:
        return
    try:
        consumer.list_topics(topic, PROBE_TIMEOUT_S)
    except KafkaException as exception:
        raise log_error(options, "reading", error_of(exception), complaints) from exception
    complaints.unreachable, complaints.refusal = False, None
