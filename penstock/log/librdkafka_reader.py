"""Reading ranges of partitions, outside of any group."""

from __future__ import annotations

import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaError

from penstock.errors import LogUnavailableError, OffsetOutOfRangeError
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_catalog import Catalog, open_client
from penstock.log.librdkafka_config import reader_config
from penstock.log.librdkafka_errors import Complaints, log_error, passes
from penstock.log.librdkafka_fetch import check_reachable, consume
from penstock.log.librdkafka_records import record_of
from penstock.log.port import Record, TopicPartition

#: So many readers stay where they are, to go on reading there.
POOLED = 3
_BATCH = 10_000
_WAIT_S = 0.05


class RangeReader:
    """Reads one partition at a time; a range that begins where the last one ended is fetched already.

    Offsets have gaps (ends of transactions, aborted ones, compaction), so a range has ended when a record beyond it
    has come, or when the client says that the end of the partition has.
    """

    def __init__(self, options: KafkaOptions, catalog: Catalog) -> None:
        self._options, self._catalog = options, catalog
        self._complaints = Complaints()
        config = reader_config(options, self._complaints, reset="error")
        self._consumer = open_client(options, lambda: Consumer(config))
        self.partition = TopicPartition("", -1)
        self._given = self._seen = 0  # all records before ``_given`` were handed out; none are in between
        self._end = 0  # the partition was known to reach to here
        self._ahead: list[Record] = []  # fetched, from ``_seen`` on

    def read(self, partition: TopicPartition, start: int, stop: int, max_records: int) -> list[Record]:
        """See ``Log.read``."""
        asked = False
        if partition != self.partition or not self._given <= start <= self._seen:
            bounds = self._catalog.bounds(partition)
            if start < bounds.first:
                raise OffsetOutOfRangeError(*partition, start, *bounds)
            if start >= bounds.end:
                return []
            self._end, asked = bounds.end, True
            self._go_to(partition, start)
        records: list[Record] = []
        patient_until = self._patience()
        while len(records) < max_records and self._seen < stop:
            if not self._ahead:
                if self._seen >= self._end:
                    if asked:
                        break
                    self._end, asked = self._catalog.bounds(partition).end, True
                    continue
                if self._fetch(max_records - len(records)):
                    patient_until = self._patience()
                elif time.monotonic() > patient_until:
                    raise self._gave_up()
                continue
            records += self._take(start, stop, max_records - len(records))
        return records

    def close(self) -> None:
        """Release the connection."""
        self._consumer.close()

    def _patience(self) -> float:
        return time.monotonic() + self._options.request_timeout_ms / 1000

    def _go_to(self, partition: TopicPartition, start: int) -> None:
        self.partition = partition
        self._given = self._seen = start
        self._ahead = []
        where = confluent_kafka.TopicPartition(self._catalog.physical(partition.topic), partition.partition, start)
        self._consumer.assign([where])

    def _take(self, start: int, stop: int, max_records: int) -> list[Record]:
        """What is ahead, up to ``stop``."""
        upto = 0
        for record in self._ahead[:max_records]:
            if record.offset >= stop:
                break
            upto += 1
        taken = self._ahead[:upto]
        del self._ahead[:upto]
        if taken:
            self._given = self._seen = taken[-1].offset + 1
        if self._ahead:
            self._seen = self._ahead[0].offset
        return taken if not taken or taken[0].offset >= start else [r for r in taken if r.offset >= start]

    def _fetch(self, wanted: int) -> bool:
        """Whether something new is known. Raises what went wrong."""
        count = max(1, min(wanted, _BATCH))
        messages = consume(self._consumer, count, 0) or consume(self._consumer, count, _WAIT_S)
        ahead, topic = self._ahead, self.partition.topic
        for message in messages:
            error = message.error()
            if error is None:
                ahead.append(record_of(message, topic))
            elif error.code() == KafkaError._PARTITION_EOF:
                if not ahead:
                    self._seen = max(self._seen, message.offset() or 0)
                self._end = max(self._end, message.offset() or 0)
            elif not passes(error):
                raise self._failed(error)
        return bool(messages)

    def _failed(self, error: KafkaError) -> Exception:
        partition, self.partition = self.partition, TopicPartition("", -1)
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            return OffsetOutOfRangeError(*partition, self._seen, *self._catalog.bounds(partition))
        return log_error(self._options, "reading", error, self._complaints)

    def _gave_up(self) -> Exception:
        partition, self.partition = self.partition, TopicPartition("", -1)
        check_reachable(self._options, self._consumer, self._catalog.physical(partition.topic), self._complaints)
        return LogUnavailableError(
            f"kafka at {self._options.bootstrap}: nothing came from {partition.topic}/{partition.partition} "
            f"offset {self._seen}; is the leader of the partition up?"
        )


class ReaderPool:
    """A few readers, each where it was left. Thread-safe."""

    def __init__(self, options: KafkaOptions, catalog: Catalog) -> None:
        self._options, self._catalog = options, catalog
        self._idle: list[RangeReader] = []  # the one used last comes last
        self._lock = threading.Lock()

    def read(self, partition: TopicPartition, start: int, stop: int, max_records: int) -> list[Record]:
        """See ``Log.read``."""
        self._catalog.check(partition)
        if stop <= start or max_records < 1:
            return []
        reader = self._checked_out(partition)
        try:
            return reader.read(partition, start, stop, max_records)
        finally:
            with self._lock:
                self._idle.append(reader)
                surplus = self._idle.pop(0) if len(self._idle) > POOLED else None
            if surplus is not None:
                surplus.close()

    def close(self) -> None:
        """Release the connections. Idempotent."""
        with self._lock:
            readers, self._idle = self._idle, []
        for reader in readers:
            reader.close()

    def _checked_out(self, partition: TopicPartition) -> RangeReader:
        with self._lock:
            there = [reader for reader in self._idle if reader.partition == partition]
            if there or len(self._idle) >= POOLED:
                reader = there[-1] if there else self._idle[0]
                self._idle.remove(reader)
                return reader
        return RangeReader(self._options, self._catalog)
