"""Which partitions a member owns, where it goes on reading them, and what has arrived from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import confluent_kafka
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException

from penstock.errors import LogUnavailableError, OffsetOutOfRangeError
from penstock.log.librdkafka_catalog import Catalog
from penstock.log.librdkafka_errors import error_of
from penstock.log.librdkafka_records import Shelves
from penstock.log.port import OnPartitions, TopicPartition

_log = structlog.get_logger()

#: An answer may take so long before others are read; it is asked for again at the next poll.
POSITION_TIMEOUT_S = 0.5

AskCommitted: TypeAlias = Callable[[Sequence[TopicPartition], float], Mapping[TopicPartition, int | None]]


class Positions:
    """For the polling thread. Owning partition n means reading n of every topic.

    What the group gives is told of, and read, at the next ``take_up``: a callback may ask the consumer nothing.
    """

    def __init__(
        self, consumer: Consumer, catalog: Catalog, topics: Sequence[str], ask_committed: AskCommitted
    ) -> None:
        self._consumer, self._catalog, self._topics = consumer, catalog, topics
        self._ask_committed = ask_committed
        self._names = {catalog.physical(topic): topic for topic in topics}
        self._unknown_topics = [catalog.physical(topic) for topic in topics[1:]]
        self.shelves = Shelves(self._names)
        self._owned: set[int] = set()
        self._given: list[int] = []  # by the group, and not yet told of
        self._starts: dict[TopicPartition, int | None] = {}  # where to start reading; None: at the committed offset
        self._fetching: set[TopicPartition] = set()

    @property
    def owned(self) -> list[int]:
        """The partitions that were told of, sorted."""
        return sorted(self._owned)

    def owns(self, partition: TopicPartition) -> bool:
        """Whether ``partition`` is ours. Any thread may ask."""
        return partition.partition in self._owned and partition.topic in self._topics

    def give(self, numbers: Sequence[int]) -> None:
        """The group gives us these."""
        self._given += numbers

    def give_up(self, numbers: Collection[int]) -> None:
        """They are not ours any more, and not read."""
        self._owned.difference_update(numbers)
        self._given = [number for number in self._given if number not in numbers]
        for partition in [p for p in self._starts if p.partition in numbers]:
            del self._starts[partition]
        self._stop([p for p in self._fetching if p.partition in numbers])

    def clear(self) -> None:
        """Nothing is ours; the consumer is about to be closed."""
        self._owned.clear()
        self._given.clear()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on reading there."""
        self.shelves.drop(partition)
        self._starts[partition] = offset

    def missed(self, failed: confluent_kafka.Message) -> None:
        """The log does not hold the offset that was to be read; ``take_up`` looks at it, and raises."""
        partition = TopicPartition(self._names[failed.topic() or ""], failed.partition() or 0)
        if partition in self._fetching:
            self._starts[partition] = failed.offset()

    def take_up(self, on_assigned: OnPartitions) -> None:
        """Tell of new partitions, and start to read them, and where it was sought.

        Raises:
            OffsetOutOfRangeError: it is raised until another position is sought.
            LogUnavailableError: call it again.
        """
        if not self._given and not self._starts:
            return
        given, self._given = sorted(self._given), []
        if given:
            self._owned.update(given)
            self._find_leaders()
            self._starts |= {TopicPartition(topic, n): None for n in given for topic in self._topics}
            on_assigned(given)
        unknown = [partition for partition, offset in self._starts.items() if offset is None]
        try:
            found = self._ask_committed(unknown, POSITION_TIMEOUT_S) if unknown else {}
        except LogUnavailableError as error:
            _log.debug("not read yet", why=str(error))
            found = {}
        self._start({p: OFFSET_BEGINNING if committed is None else committed for p, committed in found.items()})
        sought = {partition: offset for partition, offset in self._starts.items() if offset is not None}
        for partition, offset in sought.items():
            first, end = self._catalog.bounds(partition)
            if not first <= offset <= end:
                raise OffsetOutOfRangeError(*partition, offset, first, end)
        self._start(sought)

    def _find_leaders(self) -> None:
        """The client knows the first topic's; it would look for the others' in its own time, up to a second."""
        others, self._unknown_topics = self._unknown_topics, []
        try:
            for topic in others:
                self._consumer.list_topics(topic, POSITION_TIMEOUT_S)
        except KafkaException as exception:
            _log.debug("the client has to find the leaders itself", why=str(error_of(exception)))

    def _start(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._stop(self._fetching.intersection(offsets))
        for partition in offsets:
            del self._starts[partition]
            self.shelves.open(partition)
        self._fetching.update(offsets)
        self._consumer.incremental_assign([self._catalog.place(p, offset) for p, offset in offsets.items()])

    def _stop(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            self.shelves.drop(partition)
        self._fetching.difference_update(partitions)
        self._consumer.incremental_unassign([self._catalog.place(partition) for partition in partitions])
