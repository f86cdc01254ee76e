"""Transactions of one producer, whose outcome is known before the next begins, whatever happens to the broker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from penstock.errors import FencedError, LogError, LogUnavailableError
from penstock.log.bounded_calls import within
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_catalog import open_client
from penstock.log.librdkafka_config import transactional_config
from penstock.log.librdkafka_errors import FENCED, MOVED_ON, Complaints, error_of, log_error, passes, refused
from penstock.log.port import Message

_log = structlog.get_logger()

Outcome: TypeAlias = Literal["committed", "aborted"]
_PAUSE_S = 0.02
_ABANDON_S = 2.0
#: One try of adding offsets, which takes milliseconds where the coordinator is there; after one that does not come
#: back the next may take twice as long, up to the request time-out: a coordinator may be slow for good.
_FIRST_TRY_S = 2.0
_GRACE_S = 1.0


class GroupMovedOnError(LogError):
    """The group has a new generation: the transaction was aborted, and may be tried with what the group says now."""


class Transactions:
    """One transaction after the other under one transactional id. Not thread-safe.

    While a commit or an abort could not be finished (the broker is away), it is held: `finish` goes on with it, and
    nothing else begins before it is done. librdkafka asks the coordinator again, so a commit is never doubled.

    A producer whose coordinator goes away before the commit is given up, and a fresh one ends its transaction: in
    librdkafka 2.16 its call to add offsets does not return any more, whatever time-out it was given, when the broker
    comes back meanwhile. So that call has a thread, which is left behind if need be.
    """

    def __init__(self, options: KafkaOptions, group: str, member: str) -> None:
        self._options, self._group = options, group
        self._complaints = Complaints()
        self._failed: KafkaError | None = None
        self._unfinished: Outcome | None = None
        config = transactional_config(options, self._complaints, f"{group}.{member}", self._on_failure)
        self._make = partial(open_client, options, partial(Producer, config))
        self._producer: Producer = self._make()
        self._begun = False
        self._try_s = _FIRST_TRY_S
        self.fenced = False

    @property
    def unfinished(self) -> bool:
        """Whether `finish` has something to do."""
        return self._unfinished is not None

    def start(self) -> None:
        """Fence whoever has this transactional id, and end its open transaction.

        Raises:
            LogUnavailableError: the coordinator does not answer; call it again.
            LogError: it refuses.
        """
        deadline = time.monotonic() + self._options.request_timeout_ms / 1000
        while not self._begun:
            try:
                self._producer.init_transactions(_left(deadline))
                self._begun = True
            except KafkaException as exception:
                self._pass_or_raise("starting transactions", error_of(exception), deadline)

    def run(
        self,
        targets: Sequence[tuple[str, int]],
        messages: Sequence[Message],
        offsets: Sequence[confluent_kafka.TopicPartition],
        metadata: Any,
    ) -> None:
        """Write ``messages`` to their ``targets`` and the group's ``offsets``, all or nothing.

        Raises:
            FencedError: the transactional id or the place in the group is another process's now.
            GroupMovedOnError: nothing was written.
            LogUnavailableError: nothing was written, or (``unfinished``) it is not known yet.
            LogError: nothing was written; a record is too large, or the cluster refuses.
        """
        self.start()
        deadline = time.monotonic() + self._options.request_timeout_ms / 1000
        self._failed = None
        try:
            self._producer.begin_transaction()
        except KafkaException as exception:
            raise self._error("beginning a transaction", error_of(exception)) from exception
        try:
            self._produce(targets, messages, deadline)
            while offsets:
                try:
                    self._send_offsets(offsets, metadata, _left(deadline))
                    break
                except KafkaException as exception:
                    self._pass_or_raise("committing offsets", error_of(exception), deadline)
        except LogUnavailableError:
            self._producer, self._begun = self._make(), False
            raise
        except FencedError:
            self._abandon()
            raise
        except LogError:
            self._unfinished = "aborted"
            self.finish(deadline)
            raise
        self._unfinished = "committed"
        self.finish(deadline)

    def finish(self, deadline: float | None = None) -> Outcome | None:
        """Go on with what was not finished; how that ended. Raises like `run`."""
        if deadline is None:
            deadline = time.monotonic() + self._options.request_timeout_ms / 1000
        while self._unfinished is not None:
            ending = self._producer.commit_transaction
            if self._unfinished == "aborted":
                ending = self._producer.abort_transaction
            try:
                ending(_left(deadline))
            except KafkaException as exception:
                self._after(error_of(exception), deadline)
                continue
            outcome, self._unfinished = self._unfinished, None
            return outcome
        return None

    def _abandon(self) -> None:
        """Our place in the group is lost, our transaction may still be open: readers would wait till it times out."""
        try:
            self._producer.abort_transaction(_ABANDON_S)
        except KafkaException as exception:  # the producer is fenced too: then whoever fenced it has ended it
            _log.debug("not aborted", group=self._group, why=str(error_of(exception)))

    def close(self) -> None:
        """Let go of the producer. What is unfinished then is ended by the coordinator, or by a namesake."""
        if self._unfinished is None:
            return
        try:
            self.finish(time.monotonic() + 1.0)
        except LogError:
            self._unfinished = None

    def _after(self, error: KafkaError, deadline: float) -> None:
        """A commit or an abort failed: abort, try again, or raise."""
        if error.txn_requires_abort() and self._unfinished == "committed":
            cause = self._failed or error
            self._unfinished = "aborted"
            self.finish(deadline)
            raise self._error("committing", cause)
        if error.fatal() or not passes(error):
            self._unfinished = None
            raise self._error("committing", error)
        self._pass_or_raise("committing", error, deadline)

    def _send_offsets(self, offsets: Sequence[confluent_kafka.TopicPartition], metadata: Any, timeout_s: float) -> None:
        """Raises ``KafkaException``, and ``LogUnavailableError`` where the client does not come back."""
        timeout_s = min(timeout_s, self._try_s)
        send = partial(self._producer.send_offsets_to_transaction, list(offsets), metadata, timeout_s)
        try:
            within(timeout_s + _GRACE_S, send)
            self._try_s = _FIRST_TRY_S
        except TimeoutError:
            self._try_s = min(2 * self._try_s, self._options.request_timeout_ms / 1000)
            error = KafkaError(KafkaError._TIMED_OUT)
            raise log_error(self._options, "committing offsets", error, self._complaints) from None

    def _produce(self, targets: Sequence[tuple[str, int]], messages: Sequence[Message], deadline: float) -> None:
        produce = self._producer.produce
        for (topic, partition), (_, key, value, _, headers) in zip(targets, messages, strict=True):
            while True:
                try:
                    if headers:
                        produce(topic, value, key, partition, headers=list(headers))
                    else:
                        produce(topic, value, key, partition)
                    break
                except BufferError:
                    self._pass_or_raise("writing", KafkaError(KafkaError._TIMED_OUT), deadline)
                    self._producer.poll(_PAUSE_S)
                except KafkaException as exception:
                    error = error_of(exception)
                    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                        raise LogError(
                            f"topic {topic}: a record of {len(value):,} bytes is larger than Kafka takes; "
                            "nothing was written"
                        ) from exception
                    raise self._error("writing", error) from exception

    def _pass_or_raise(self, what: str, error: KafkaError, deadline: float) -> None:
        """Returns, after a pause, where ``error`` passes and there is time left."""
        passing = passes(error) and not error.fatal() and not error.txn_requires_abort()
        if passing:
            self._producer.poll(0)  # complaints are heard there
            passing = self._complaints.refusal is None
        if not passing or time.monotonic() + _PAUSE_S >= deadline:
            raise self._error(what, error)
        time.sleep(_PAUSE_S)

    def _error(self, what: str, error: KafkaError) -> LogError:
        if error.code() in MOVED_ON:
            return GroupMovedOnError(f"group {self._group}: {what}: the group has changed ({error.name()})")
        if error.code() in FENCED or (error.fatal() and not refused(error)):
            self.fenced = True
            return FencedError(self._group, 0)
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return LogError(f"kafka at {self._options.bootstrap}: a record is larger than its topic takes")
        if error.code() == KafkaError._STATE and self._unfinished is None:
            return LogUnavailableError(f"kafka at {self._options.bootstrap}: {what}: the producer is not ready")
        return log_error(self._options, what, error, self._complaints)

    def _on_failure(self, error: KafkaError | None, _: object) -> None:
        self._failed = self._failed or error


def _left(deadline: float) -> float:
    """Seconds until ``deadline``; librdkafka takes 0 for not at all and less for ever."""
    return max(0.05, deadline - time.monotonic())
