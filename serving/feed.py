"""The newest records of the topics that people and clients watch, held once per process for all of them."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence

from penstock.log.following import Follower
from penstock.log.port import Log, Record, TopicPartition
from serving.following import follow

#: How many of the newest records per partition are held in memory; older ones are read from the log.
RING_RECORDS = 4096
#: How far back a starting process looks, per topic (None: to the oldest record). Read in this order: who was served
#: is known before the metrics that are about it.
HISTORY: dict[str, int | None] = {
    "models": None,
    "decisions": None,
    "drift": 5_000,
    "alerts": 500,
    "metrics": 20_000,
    "predictions": RING_RECORDS,
}
POLL_S = 0.2


class _Ring:
    """Consecutive records of one partition. ``first``: every record from this offset on is held."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.end = first
        self.records: list[Record] = []

    def extend(self, record: Record) -> None:
        self.records.append(record)
        self.end = record.offset + 1
        if len(self.records) >= 2 * RING_RECORDS:
            self.first = self.records[RING_RECORDS - 1].offset + 1
            del self.records[:RING_RECORDS]

    def after(self, offset: int, limit: int) -> list[Record]:
        at = bisect_left(self.records, offset, key=lambda record: record.offset)
        return self.records[at : at + limit]


class Feed:
    """One thread reads; any thread may look. ``on_records`` is called in the reading thread, in order of arrival.

    There are no partitions before ``open``.
    """

    def __init__(self, log: Log, on_records: Callable[[Sequence[Record]], None]) -> None:
        self._log, self._on_records = log, on_records
        self._follower: Follower | None = None
        self._rings: dict[TopicPartition, _Ring] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()

    @property
    def alive(self) -> bool:
        """Whether the topics are still followed."""
        return self._thread is not None and self._thread.is_alive()

    def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """All partitions of ``topics``."""
        return [partition for partition in self._rings if partition.topic in topics]

    def open(self) -> bool:
        """Find out where to begin; False where that is known already.

        Raises:
            LogUnavailableError: call it again.
        """
        if self._follower is not None:
            return False
        follower = Follower(self._log, HISTORY)
        self._rings = {partition: _Ring(first) for partition, first in follower.positions.items()}
        self._follower = follower
        return True

    def catch_up(self) -> None:
        """Read what the topics hold now. After ``open``. Raises ``LogUnavailableError``: it may be called again."""
        for records in self._opened().history():
            self._take(records)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Follow from here on; those who wait for changes do so in ``loop``."""
        self._loop = loop
        self._stop.clear()
        self._thread = threading.Thread(
            target=follow, args=("following topics", self._step, self._stop), name="feed", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._follower is not None:
            self._follower.close()

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """From and up to which offset records are held here."""
        with self._lock:
            ring = self._rings[partition]
            return ring.first, ring.end

    def after(self, partition: TopicPartition, offset: int, limit: int) -> list[Record] | None:
        """Up to ``limit`` records from ``offset`` on; None when ``offset`` is older than what is held."""
        with self._lock:
            ring = self._rings[partition]
            return None if offset < ring.first else ring.after(offset, limit)

    def newest(self, topic: str, count: int) -> list[Record]:
        """The newest records of ``topic``: up to ``count`` of each partition."""
        with self._lock:
            return [record for p, ring in self._rings.items() if p.topic == topic for record in ring.records[-count:]]

    async def changed(self, timeout_s: float) -> None:
        """Return when there is something new, or after ``timeout_s``. To be called in the loop of ``start``."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(event)

    def _opened(self) -> Follower:
        if self._follower is None:
            raise RuntimeError("the feed is not open")
        return self._follower

    def _step(self) -> None:
        records = self._opened().poll(POLL_S)
        if records:
            self._take(records)

    def _take(self, records: Sequence[Record]) -> None:
        with self._lock:
            for record in records:
                self._rings[TopicPartition(record.topic, record.partition)].extend(record)
        self._on_records(records)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
