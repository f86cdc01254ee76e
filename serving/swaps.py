"""Follows the ``models`` topic: what is served changes here, and nowhere else in the process."""

from __future__ import annotations

import threading

import msgspec
import structlog

from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.events import Features, ModelRecord
from penstock.log.following import Follower
from penstock.log.port import Record
from penstock.models.slot import WARM_ROWS, is_older
from penstock.telemetry import CounterName, GaugeName
from serving.deps import ServingDeps
from serving.feed import Feed
from serving.following import follow

POLL_S = 0.2

_logger = structlog.get_logger("serving")


class _Row(msgspec.Struct):
    features: Features


class Swaps:
    """The one thread that applies model records to ``deps.served``.

    ``catch_up`` folds what the topic holds before the first request is answered, so that a restart never takes a
    generation back. Records of one slot that come together are applied as the newest of them.
    """

    def __init__(self, deps: ServingDeps, feed: Feed) -> None:
        self._deps, self._feed = deps, feed
        self._decode = decoder_for("models", deps.pipeline)
        self._features = msgspec.json.Decoder(_Row)
        self._follower: Follower | None = None
        self._pending: dict[str, ModelRecord] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether swaps are still followed."""
        return self._thread is not None and self._thread.is_alive()

    def catch_up(self) -> None:
        """Apply all that the topic holds now. Raises ``LogUnavailableError``: call it again."""
        if self._follower is None:
            self._follower = Follower(self._deps.log, {"models": None})
        for records in self._follower.history():
            self._note(records)
        self._apply()

    def start(self) -> None:
        """Follow from here on. After ``catch_up``."""
        self._stop.clear()
        self._thread = threading.Thread(
            target=follow, args=("following models", self._step, self._stop), name="swaps", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._follower is not None:
            self._follower.close()

    def _followed(self) -> Follower:
        if self._follower is None:
            raise RuntimeError("what the topic holds is not known yet")
        return self._follower

    def _step(self) -> None:
        self._note(self._followed().poll(POLL_S))
        self._apply()

    def _note(self, records: list[Record]) -> None:
        for record in records:
            try:
                event = self._decode(record.value)
            except ContractError as error:
                _logger.error("a model record was skipped", offset=record.offset, error=str(error))
                continue
            if not isinstance(event, ModelRecord):
                raise TypeError(f"expected a model record, got {type(event).__name__}")
            if not is_older(event, self._pending.get(event.slot)):
                self._pending[event.slot] = event

    def _apply(self) -> None:
        if not self._pending:
            return
        served = self._deps.served
        served.remember(self._recent_rows())
        for slot, record in list(self._pending.items()):
            if served.apply(record):
                kind = slot.partition("-")[0]
                self._deps.telemetry.count(CounterName.SWAPS, slot=kind, outcome="swapped")
            del self._pending[slot]  # only now: where the refusal's alert could not be written, it is tried again
        self._deps.telemetry.gauge(GaugeName.GENERATION, served.serving.generation)

    def _recent_rows(self) -> list[Features]:
        rows = []
        for record in self._feed.newest("predictions", WARM_ROWS):
            try:
                features = self._features.decode(record.value).features
            except msgspec.DecodeError:
                continue
            if all(feature.name in features for feature in self._deps.pipeline.features):
                rows.append(features)
        return rows
