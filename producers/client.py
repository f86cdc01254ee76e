"""The client SDK: send requests and labels, read scores. What breaks the contract is refused before it is sent."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

import msgspec

from penstock.clock import Clock, SystemClock
from penstock.contract import check_label, check_request, decoder_for
from penstock.errors import ContractError
from penstock.events import Event, FeatureValue, Label, Prediction, Request, encode
from penstock.log.port import Log, Message
from penstock.spec import Pipeline

_POLL_S = 0.25
_READ = 500


class Client:
    """An upstream application's hold on one pipeline's log. Thread-safe as far as the log is.

    Sending is at-least-once: after ``LogUnavailableError`` send again with the same id; repeats are recognised.
    """

    def __init__(self, log: Log, pipeline: Pipeline, clock: Clock | None = None) -> None:
        self._log = log
        self._pipeline = pipeline
        self._clock = clock or SystemClock()
        self._decoders = {topic: decoder_for(topic, pipeline) for topic in ("requests", "labels")}
        self._prediction = msgspec.json.Decoder(Prediction)

    def send_request(
        self,
        features: Mapping[str, FeatureValue],
        *,
        id: str | None = None,
        entity: str | None = None,
        event_time_ms: int | None = None,
    ) -> str:
        """Ask for a score and return the request's id (a new one where ``id`` is None) once it is durable.

        None is a missing value; features that the pipeline does not know are left out. ``event_time_ms`` None: the
        time of arrival.

        Raises:
            ContractError: a feature is absent or does not fit, or the pipeline wants an entity; nothing was sent.
            LogUnavailableError: it is not known whether it was sent; repeat with the same id.
        """
        id_ = uuid.uuid4().hex if id is None else id
        request = Request(id=id_, features=dict(features), entity=entity, event_time_ms=event_time_ms)
        self._send("requests", check_request(self._pipeline, request), entity or id_)
        return id_

    def send_label(
        self,
        id: str,
        value: str | float | int | bool,
        *,
        entity: str | None = None,
        event_time_ms: int | None = None,
    ) -> None:
        """Say what really happened to request ``id``; ``event_time_ms`` is when it became known (None: on arrival).

        Raises:
            ContractError: not one of the pipeline's classes or not a number, or an entity is wanted; nothing was sent.
            LogUnavailableError: it is not known whether it was sent; repeat it.
        """
        label = Label(id=id, value=value, entity=entity, event_time_ms=event_time_ms)
        self._send("labels", check_label(self._pipeline, label), entity or id)

    def scores(self, timeout_s: float, *, from_start: bool = False) -> Iterator[Prediction]:
        """Predictions as they come (``from_start``: those that are held, first); ends after ``timeout_s`` without any.

        Following begins at the call, not at the first ``next``: what is requested after it is not missed.
        """
        tail = self._log.tail(["predictions"], from_start=from_start)

        def follow() -> Iterator[Prediction]:
            try:
                quiet_since = self._clock.monotonic_s()
                while (left := quiet_since + timeout_s - self._clock.monotonic_s()) > 0:
                    for record in tail.poll(_READ, min(left, _POLL_S)):
                        yield self._prediction.decode(record.value)
                        quiet_since = self._clock.monotonic_s()
            finally:
                tail.close()

        return follow()

    def _send(self, topic: str, event: Event, key: str) -> None:
        try:
            value = encode(event)
        except (TypeError, OverflowError, UnicodeEncodeError) as error:
            raise ContractError("", f"cannot be written as JSON: {error}") from error
        self._decoders[topic](value)  # types and lengths that Python does not check
        self._log.append([Message(topic, key.encode(), value)])
