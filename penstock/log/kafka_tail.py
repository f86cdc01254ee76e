"""Following topics without a group."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.log.kafka_cluster import Cluster
from penstock.log.kafka_reader import KafkaReader
from penstock.log.port import Record, TopicPartition


class KafkaTail:
    """See ``Tail``. What retention deletes before it is read is passed over."""

    def __init__(self, cluster: Cluster, topics: Sequence[str], *, from_start: bool) -> None:
        followed = [TopicPartition(topic, p) for topic in topics for p in range(cluster.partitions(topic))]
        bounds = {partition: cluster.bounds(partition) for partition in followed}
        self._reader = KafkaReader(cluster, skip_lost=True)
        self._reader.assign({p: held.first if from_start else held.end for p, held in bounds.items()})
        self._closed = False

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See ``Tail.poll``."""
        return self._reader.poll(max_records, timeout_s)

    def close(self) -> None:
        """See ``Tail.close``."""
        if not self._closed:
            self._closed = True
            self._reader.close()
