"""A seat in a consumer group: who owns which partition, agreed with the broker in a thread of its own.

The seat's consumer fetches nothing: records are read by another one, at positions of ours. It only keeps the
membership, which wants to be polled whatever the member is busy with: a join that completes between two polls is
thrown away by the client and begun anew, and several members in one thread would do that to each other for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import ConsumerGroupMetadata, MemberState
from kafka.structs import TopicPartition as KafkaPartition

from penstock.errors import FencedError, LogError
from penstock.log.kafka_admin import open_client
from penstock.log.kafka_cluster import Cluster
from penstock.log.kafka_config import client_config
from penstock.log.kafka_errors import is_retriable, log_error

_log = structlog.get_logger()

POLL_MS = 100
HEARTBEAT_MOST_MS = 1000
RETRY_PAUSE_S = 0.1


class Change(NamedTuple):
    """What the group decided. ``lost``: we were expelled, and others may own these already."""

    kind: str
    partitions: tuple[int, ...]


class _RevokedError(Exception):
    """Raised in the listener to get out of the client's poll, which would give the partitions up at once."""


class Seat:
    """Joins ``group`` at once. ``take_changes`` and ``release`` are called by the member's thread.

    Revoked partitions stay ours until ``release``: the seat does not poll the group again before it. It also stops
    polling when the member has not been heard of for ``max_poll_interval_ms``, so that a member that hangs loses its
    partitions. A static member that is displaced is told by no one until it commits, so the seat looks.
    """

    def __init__(self, cluster: Cluster, group: str, physical_topic: str, member: str) -> None:
        self.group, self.member = group, member
        self._cluster = cluster
        self._changed = threading.Condition()
        self._changes: list[Change] = []
        self._to_release = False
        self._stopping = False
        self.expulsions = 0  # how often all partitions were lost; counted before the seat joins again
        self._failure: LogError | None = None
        self._heard_of = self._looked = time.monotonic()
        self._assignor = CooperativeStickyAssignor()
        config = _config(cluster, group, member) | {"partition_assignment_strategy": (self._assignor,)}
        self.consumer = open_client(cluster.options, KafkaConsumer, config)
        self.consumer.subscribe([physical_topic], listener=_Listener(self))
        self.consumer.partitions_for_topic(physical_topic)  # a first join without them would have to be repeated
        self._thread = threading.Thread(target=self._run, name=f"penstock-seat-{group}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Tell the seat that the member lives. Raises what ended the membership (``FencedError``, ``LogError``)."""
        self._heard_of = time.monotonic()
        if self._failure is not None:
            raise self._failure

    def fail(self, error: LogError) -> None:
        """The member has learned that it is displaced."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def take_changes(self) -> list[Change]:
        """What was decided since the last call, in order. Where something was revoked, ``release`` has to follow."""
        with self._changed:
            changes, self._changes = self._changes, []
            return changes

    def release(self) -> None:
        """Give up what was revoked."""
        with self._changed:
            self._to_release = False
            self._changed.notify_all()

    def wait_for_change(self, timeout_s: float) -> None:
        """Return when there is something to take, or after ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._changes) or self._failure is not None, timeout_s)

    def metadata(self, other_than: int, timeout_s: float) -> ConsumerGroupMetadata | None:
        """Our place in the current generation, once there is one and not ``other_than``; None if it stays so.

        Safe for partitions that we have not released, whatever generation it is and also in the middle of a rebalance:
        nobody else gets them before.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.consumer.group_metadata()
            if found.generation_id not in (other_than, -1):
                return found
            if time.monotonic() >= deadline or self._failure is not None:
                return None
            time.sleep(0.01)

    def close(self) -> None:
        """Leave at once, so that others can take over."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        member_id = self.consumer.group_metadata().member_id
        self.consumer.close(autocommit=False, timeout_ms=1000)
        if not member_id or isinstance(self._failure, FencedError):
            return
        try:
            self._cluster.remove_member(self.group, self.member, member_id)
        except LogError as error:
            _log.warning("could not leave the group; others take over after the session timeout", why=str(error))

    def record(self, kind: str, partitions: Sequence[KafkaPartition]) -> None:
        """Called by the listener, in the client's thread."""
        with self._changed:
            self._changes.append(Change(kind, tuple(sorted(where.partition for where in partitions))))
            self._to_release = self._to_release or kind == "revoked"
            self.expulsions += kind == "lost"
            self._changed.notify_all()
        if kind == "lost":
            self._assignor.member_assignment = None  # or the next join would claim what others own by now
        if kind == "revoked" and not self._stopping:
            raise _RevokedError

    def _run(self) -> None:
        while not self._stopping and self._failure is None:
            try:
                self.consumer.poll(timeout_ms=POLL_MS)
                self._insist()
                self._look_for_namesake()
            except kafka_errors.FencedInstanceIdError:
                self.fail(FencedError(self.group, -1))
            except kafka_errors.KafkaError as error:
                self._survive(error)
            except LogError as error:
                if not error.retriable:
                    self.fail(error)
            self._rest()

    def _insist(self) -> None:
        """A join that completed between two polls is forgotten by the client, if what began it has passed by then."""
        if self.consumer.group_metadata().state == MemberState.REBALANCING:
            self.consumer._coordinator.request_rejoin()

    def _rest(self) -> None:
        """While something waits for its release, or the member is silent, the group is not polled."""
        with self._changed:
            while (self._to_release or self._is_member_silent()) and not self._stopping:
                self._changed.wait(1.0)

    def _survive(self, error: kafka_errors.KafkaError) -> None:
        if isinstance(error.__cause__, _RevokedError):
            return
        if not is_retriable(error):
            self.fail(log_error(self._cluster.options, f"membership in group {self.group}", error))
        time.sleep(RETRY_PAUSE_S)

    def _is_member_silent(self) -> bool:
        return time.monotonic() - self._heard_of > self._cluster.options.max_poll_interval_ms / 1000

    def _look_for_namesake(self) -> None:
        if time.monotonic() - self._looked < self._cluster.options.heartbeat_interval_ms / 1000:
            return
        self._looked = time.monotonic()
        mine = self.consumer.group_metadata()
        if mine.state != MemberState.STABLE:
            return
        holder = self._cluster.member_id(self.group, self.member)
        now = self.consumer.group_metadata()
        if holder not in (None, mine.member_id) and now.member_id == mine.member_id:
            self.fail(FencedError(self.group, -1))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs in the client's thread, where nothing may block: it writes down, and the member's thread acts."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def on_partitions_assigned(self, assigned: Sequence[KafkaPartition]) -> None:
        for where in assigned:
            self._seat.consumer.pause(where)
            self._seat.consumer.seek(where, 0)  # any position: without one the client would look for it
        self._seat.record("assigned", assigned)

    def on_partitions_revoked(self, revoked: Sequence[KafkaPartition]) -> None:
        self._seat.record("revoked", revoked)

    def on_partitions_lost(self, lost: Sequence[KafkaPartition]) -> None:
        self._seat.record("lost", lost)


def _config(cluster: Cluster, group: str, member: str) -> dict[str, Any]:
    options = cluster.options
    return client_config(options) | {
        "group_id": group,
        "group_instance_id": member,
        "isolation_level": "read_committed",  # committed offsets are asked for as stable ones then
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "session_timeout_ms": options.session_timeout_ms,
        # the answer to a heartbeat is how a member learns of a rebalance, and so how long a hand-over takes
        "heartbeat_interval_ms": min(options.heartbeat_interval_ms, HEARTBEAT_MOST_MS),
        "max_poll_interval_ms": options.max_poll_interval_ms,
        "metrics_enabled": False,
    }
