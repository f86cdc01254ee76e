"""A member's place in its group, as the polling thread saw it last."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from confluent_kafka import Consumer

from penstock.log.kafka_options import KafkaOptions

#: How often who waits for a note looks whether it may take one itself.
_LOOK_S = 0.05


class Seat(NamedTuple):
    """Who sits where."""

    options: KafkaOptions
    group: str
    topics: tuple[str, ...]
    member: str


class Noted(NamedTuple):
    """What was noted: the ``number`` grows from note to note; ``metadata`` is the client's own, for transactions."""

    number: int
    metadata: Any
    member_id: str


class GroupPlace:
    """The group's metadata and our member id, noted by the thread that polls and used by the one that commits.

    confluent-kafka lets one thread at a time into a consumer. One that polls is inside for as long as it waits, and
    through the callbacks where it waits for a commit. So that no commit ever waits for it in turn, all calls of the
    consumer are made holding ``inside``, and a commit takes a note by itself only where ``inside`` is free.
    """

    def __init__(self) -> None:
        self.inside = threading.RLock()
        self._changed = threading.Condition()
        self._noted = Noted(-1, None, "")
        self._seated_as = ""
        self._tenure, self._lost, self._wanted = 0, False, False

    @property
    def wanted(self) -> bool:
        """Whether a commit waits for a note."""
        return self._wanted

    @property
    def tenure(self) -> int:
        """Changes when the group throws us out: what was owned before is not what is owned after."""
        return self._tenure

    @property
    def lost(self) -> bool:
        """Whether the group has thrown us out, and has given us nothing since."""
        return self._lost

    def sit(self, member_id: str) -> None:
        """The group has given us something under this id."""
        with self._changed:
            self._seated_as, self._lost = member_id, False

    def lose(self) -> None:
        """The group has thrown us out, or so our client thinks: there is nothing newer than what was noted."""
        with self._changed:
            self._tenure, self._lost = self._tenure + 1, True
            self._changed.notify_all()

    def note(self, consumer: Consumer) -> None:
        """Take down where we are now. The caller is ``inside``, or in a callback."""
        # The id is read after the metadata: are they another's, so is the id.
        metadata, member_id = consumer.consumer_group_metadata(), consumer.memberid()
        with self._changed:
            self._noted = Noted(self._noted.number + 1, metadata, member_id)
            self._wanted = False
            self._changed.notify_all()

    def is_ours(self, noted: Noted) -> bool:
        """Whether it was noted under the id that owns what we own. An empty id may commit anything, to Kafka."""
        return bool(noted.member_id) and noted.member_id == self._seated_as

    def newer_than(self, number: int, consumer: Consumer, timeout_s: float) -> Noted | None:
        """What was noted after ``number``; None where the place is lost, or was not noted within ``timeout_s``."""
        waited_s = 0.0
        while waited_s <= timeout_s:
            with self._changed:
                if self._noted.number > number:
                    return self._noted
                if self._lost:
                    return None
            if self.inside.acquire(blocking=False):  # nobody polls
                try:
                    self.note(consumer)
                finally:
                    self.inside.release()
                continue
            with self._changed:
                self._wanted = self._noted.number <= number
                if self._wanted:
                    self._changed.wait(_LOOK_S)
            waited_s += _LOOK_S
        return None
