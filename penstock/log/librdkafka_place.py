"""A member's place in its group, as the polling thread saw it last."""

from __future__ import annotations

import threading
from typing import Any

from confluent_kafka import Consumer

#: A thread that polls looks after its waits, which are shorter; one that does not look by then is not polling.
LOOK_S = 0.3


class GroupPlace:
    """The group's metadata and our member id, noted by the thread that polls and used by the one that commits.

    confluent-kafka lets one thread at a time into a consumer, in no fair order: a commit that asked for the metadata by
    itself would wait for as long as the other thread polls, and for ever for one that waits for it in a callback.
    """

    def __init__(self) -> None:
        self._noted = threading.Condition()
        self._number = -1
        self._metadata: Any = None
        self._member_id = ""
        self.wanted = False

    def note(self, consumer: Consumer) -> None:
        """Take down where we are now. By whoever may call the consumer: the polling thread, also in callbacks."""
        # The id is read after the metadata: are they another's, so is the id.
        metadata, member_id = consumer.consumer_group_metadata(), consumer.memberid()
        with self._noted:
            self._number += 1
            self._metadata, self._member_id, self.wanted = metadata, member_id, False
            self._noted.notify_all()

    def lose(self) -> None:
        """We have none: the group has thrown us out."""
        with self._noted:
            self._number += 1
            self._member_id, self.wanted = "", False
            self._noted.notify_all()

    def newer_than(self, number: int, consumer: Consumer) -> tuple[int, Any, str]:
        """Number, metadata and member id of what was noted after ``number``."""
        with self._noted:
            self.wanted = self._number <= number
            if not self._noted.wait_for(lambda: self._number > number, LOOK_S):
                self._noted.release()
                try:
                    self.note(consumer)  # nobody polls, so nobody is in the consumer
                finally:
                    self._noted.acquire()
            return self._number, self._metadata, self._member_id
