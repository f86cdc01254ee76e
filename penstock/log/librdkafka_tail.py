"""Following topics without a group."""

from __future__ import annotations

import time
from collections.abc import Sequence

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError

from penstock.errors import PenstockError
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_catalog import Catalog, open_client
from penstock.log.librdkafka_config import reader_config
from penstock.log.librdkafka_errors import Complaints, log_error, passes
from penstock.log.librdkafka_fetch import check_reachable, consume
from penstock.log.librdkafka_records import record_of
from penstock.log.port import Record, TopicPartition


class LibrdkafkaTail:
    """See ``Tail``. Where retention overtakes it, it goes on with the oldest record that is held."""

    def __init__(self, options: KafkaOptions, catalog: Catalog, topics: Sequence[str], *, from_start: bool) -> None:
        self._options, self._complaints = options, Complaints()
        self._names = {catalog.physical(topic): topic for topic in topics}
        partitions = [TopicPartition(topic, n) for topic in topics for n in range(catalog.partitions(topic))]
        starts = dict.fromkeys(partitions, OFFSET_BEGINNING)
        if not from_start:
            starts = {partition: bounds.end for partition, bounds in catalog.bounds_of(partitions).items()}
        config = reader_config(options, self._complaints, reset="earliest")
        consumer: Consumer = open_client(options, lambda: Consumer(config))
        self._consumer: Consumer | None = consumer
        consumer.assign(
            [confluent_kafka.TopicPartition(catalog.physical(p.topic), p.partition, at) for p, at in starts.items()]
        )

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Tail.poll``.

        Raises:
            LogUnavailableError: try again; nothing is skipped.
            LogError: the cluster refuses us.
        """
        consumer = self._consumer
        if consumer is None:
            raise PenstockError("this tail is closed")
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            messages = consume(consumer, max_records, max(0.0, left))
            records = [record_of(m, self._names[m.topic() or ""]) for m in messages if m.error() is None]
            for message in messages:
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF and not passes(error):
                    raise log_error(self._options, "reading", error, self._complaints)
            if records:
                return records
            if left <= 0:
                check_reachable(self._options, consumer, next(iter(self._names)), self._complaints)
                return []

    def close(self) -> None:
        """See ``Tail.close``."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()
