"""What the page shows: a bounded, in-memory fold of the topics that people watch.

Everything has a revision; ``changes(since)`` is what is newer than a revision, so a page asks once for all of it and
then only for what changed, with no second fold in the browser.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from penstock import events
from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.log.port import Record
from penstock.spec import Pipeline
from serving.rates import Rate
from serving.rolling import Rolling

MAX_INCIDENTS = 300
MAX_RUNS = 100
MAX_ALERTS = 100
MAX_PROMOTIONS = 300
SERVED_FIRST = {"models", "decisions"}
WATCHED = ("metrics", "drift", "decisions", "models", "alerts")

_logger = structlog.get_logger("serving")


#: Decisions that are no step of the run that they name.
_APART = ("not_started", "rolled_back", "refused", "paused", "resumed")


class _Items:
    """The newest ``limit`` items by key, each with the revision of its last change."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def get(self, key: str) -> dict[str, Any]:
        return self._items.get(key, {})

    def put(self, key: str, item: dict[str, Any], revision: int) -> None:
        self._items[key] = {**item, "key": key, "revision": revision}
        if len(self._items) > self._limit:
            self._items.popitem(last=False)

    def since(self, revision: int) -> list[dict[str, Any]]:
        return [item for item in self._items.values() if item["revision"] > revision]


class Overview:
    """Folds records in one thread; ``changes`` may be called from any."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._decoders: dict[str, Callable[[bytes], events.Event]] = {
            topic: decoder_for(topic, pipeline) for topic in WATCHED
        }
        self._lock = threading.Lock()
        self._revision = 0
        self._rolling = Rolling(pipeline)
        self._incidents, self._runs = _Items(MAX_INCIDENTS), _Items(MAX_RUNS)
        self._alerts, self._promotions = _Items(MAX_ALERTS), _Items(MAX_PROMOTIONS)
        self._predictions, self._labelled = Rate(window_s=10), Rate(window_s=30)
        self._seen: dict[tuple[str, int], int] = {}

    @property
    def revision(self) -> int:
        """Grows with every change."""
        return self._revision

    def start_at(self, predictions: int) -> None:
        """How many predictions there were before the first record that ``fold`` will see."""
        self._predictions.total = predictions

    def fold(self, records: Sequence[Record]) -> None:
        """Take records into account, in order within a topic. What does not decode is skipped.

        Topics have no common order: who is served comes first, so that metrics find what they are about.
        """
        with self._lock:
            for record in sorted(records, key=lambda record: record.topic not in SERVED_FIRST):
                if record.topic == "predictions":
                    self._predictions.add(1, record.timestamp_ms)
                    continue
                try:
                    event = self._decoders[record.topic](record.value)
                except ContractError as error:
                    _logger.warning("the page skips a record", topic=record.topic, error=str(error))
                    continue
                self._revision += 1
                self._take(event, record)

    def changes(self, since: int, now_ms: int) -> dict[str, Any]:
        """All that is newer than revision ``since``, and the present rates."""
        with self._lock:
            return {
                "revision": self._revision,
                "now_ms": now_ms,
                "throughput": {
                    "predictions": self._predictions.total,
                    "predictions_per_s": self._predictions.per_second(now_ms),
                    "labelled": self._labelled.total,
                    "labelled_per_s": self._labelled.per_second(now_ms),
                    "history": self._predictions.history(now_ms),
                },
                "points": self._rolling.since(since),
                "quality": self._rolling.served_quality(),
                "incidents": self._incidents.since(since),
                "runs": self._runs.since(since),
                "promotions": self._promotions.since(since),
                "alerts": self._alerts.since(since),
            }

    def _take(self, event: events.Event, record: Record) -> None:
        if isinstance(event, events.Metrics):
            self._metrics(event, record.timestamp_ms)
        elif isinstance(event, events.Drift):
            self._drift(event, record.timestamp_ms)
        elif isinstance(event, events.Decision):
            self._decision(event, record.timestamp_ms)
        elif isinstance(event, events.ModelRecord):
            self._model(event, record.timestamp_ms)
        elif isinstance(event, events.Alert):
            self._alerts.put(event.id, msgspec.to_builtins(event), self._revision)

    def _metrics(self, event: events.Metrics, at_ms: int) -> None:
        if event.stage != "learner":
            return
        where = (event.stage, event.partition)
        known = where in self._seen
        learned = event.seen - self._seen.get(where, 0)
        self._seen[where] = event.seen
        if known or event.seen == event.blocks.get("champion", events.ScoreBlock()).n:
            self._labelled.add(max(0, learned), at_ms)
        else:
            self._labelled.total += learned  # they were learned before this page's memory begins
        if event.blocks:
            self._rolling.add(event, at_ms, self._revision)

    def _drift(self, event: events.Drift, at_ms: int) -> None:
        held = self._incidents.get(event.id)
        item = {
            "id": event.id,
            "status": event.status,
            "kind": event.kind,
            "level": event.level,
            "detector": event.detector,
            "feature": event.feature,
            "statistic": event.statistic,
            "effect": event.effect,
            "p_value": event.p_value,
            "drift_score": event.drift_score,
            "performance_drop": event.performance_drop,
            "advice": event.advice,
            "generation": event.generation,
            "opened": held.get("opened", event.event_time_ms),
            "opened_at_ms": held.get("opened_at_ms", at_ms),
            "escalated": held.get("escalated"),
            "closed": None,
        }
        if event.status == "escalated":
            item["escalated"] = event.event_time_ms
        if event.status == "closed":
            # What opened it is what people look for later; the closing record only says that it ended.
            item = {**item, **{k: v for k, v in held.items() if k not in {"status", "closed"}}}
            item |= {"status": "closed", "closed": event.event_time_ms}
        self._incidents.put(event.id, item, self._revision)

    def _decision(self, event: events.Decision, at_ms: int) -> None:
        # A trigger that starts nothing names the run that is under way, if any, and a rollback the one that is undone.
        run = event.trigger if event.step in _APART else event.run_id
        held = self._runs.get(run)
        step = {"step": event.step, "reason": event.reason, "event_time_ms": event.event_time_ms, "at_ms": at_ms}
        item = {
            "run_id": run,
            "trigger": event.trigger or held.get("trigger", ""),
            "version": event.version or held.get("version", ""),
            "step": event.step,
            "reason": event.reason,
            "labelled": event.labelled,
            "event_time_ms": event.event_time_ms,
            "at_ms": at_ms,
            "steps": [*held.get("steps", []), step],
            "gates": msgspec.to_builtins(event.gates) or held.get("gates", []),
            "candidates": msgspec.to_builtins(event.candidates) or held.get("candidates", []),
        }
        self._runs.put(run, item, self._revision)
        if event.step in ("promoted", "rolled_back"):
            version = event.version or (event.model.version if event.model else "")
            self._promoted(event.generation, version, {"x": event.event_time_ms, "reason": event.reason}, at_ms)

    def _model(self, event: events.ModelRecord, at_ms: int) -> None:
        if event.slot == "champion":
            before = event.predecessor.version if event.predecessor else None
            self._promoted(event.generation, event.version, {"kind": event.kind, "predecessor": before}, at_ms)

    def _promoted(self, generation: int, version: str, about: dict[str, Any], at_ms: int) -> None:
        """``decisions`` say when and why, ``models`` what; they come in any order, and models are compacted."""
        held = self._promotions.get(str(generation))
        about = {name: value for name, value in about.items() if value is not None}
        item = {"x": None, "kind": None, "predecessor": None, "reason": "", "at_ms": at_ms, **held, **about}
        item |= {"generation": generation, "version": version}
        self._promotions.put(str(generation), item, self._revision)
        self._rolling.served(generation, version)
