"""How production does: incidents, quality per version and alerts, folded from ``drift``, ``metrics`` and ``alerts``."""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice

import msgspec

from online.blocks import merged_all
from online.evaluation import measures
from online.performance_drop import ServedPerformance
from penstock.events import Alert, Drift, DriftCondition, Metrics, ScoreBlock
from penstock.spec import Pipeline

#: The block of what was served, whatever its version.
SERVED = "champion"
MOST_INCIDENTS = 1_000
MOST_ALERTS = 2_000
MOST_VERSIONS = 200


class NumberedAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert and its number, by which pages of alerts go on."""

    number: int
    alert: Alert


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """A drift incident as its newest record tells it. ``opened_ms``: event time of the first; ``opened_labelled``: how
    many rows were labelled then, about (the topics are read side by side).
    """

    id: str
    status: str
    kind: str
    level: str
    detector: str
    feature: str | None
    effect: float
    p_value: float
    performance_drop: float | None
    drift_score: float
    advice: str
    opened_ms: int
    opened_labelled: int
    event_time_ms: int


class Condition:
    """Folds events in order. Not thread-safe; bounded: the oldest incidents, alerts and versions are forgotten.

    ``inputs`` is how far the inputs are from their reference (None: within the limits of the policy); ``performance``
    tests what serves against what it did since its promotion, or since serving's memory of ``metrics`` begins.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.incidents: OrderedDict[str, Incident] = OrderedDict()
        self.drift_score: float | None = None
        self.health: float | None = None
        self.inputs: DriftCondition | None = None
        self.performance = ServedPerformance(pipeline)
        self.alerts: deque[NumberedAlert] = deque(maxlen=MOST_ALERTS)
        self.event_time_ms = 0
        self._learned: dict[int, int] = {}
        self._scores: OrderedDict[str, ScoreBlock] = OrderedDict()

    def take(self, event: Drift | Metrics | Alert, offset: int) -> None:
        """Take the next record into account, which lies at ``offset`` of its topic."""
        if isinstance(event, Drift):
            self._drift(event)
        elif isinstance(event, Alert):
            self.alerts.append(NumberedAlert(number=offset, alert=event))
        elif event.stage == "incidents":
            self.inputs = event.condition
        elif event.stage == "learner":
            self.event_time_ms = max(self.event_time_ms, event.event_time_ms)
            self._learned[event.partition] = event.seen
            if SERVED in event.blocks:
                self.performance.add(event.blocks[SERVED], event.generation, event.partition, self.labelled)
            for version, block in event.blocks.items():
                held = self._scores.pop(version, None)
                self._scores[version] = block if held is None else merged_all([held, block])
            while len(self._scores) > MOST_VERSIONS:
                self._scores.popitem(last=False)

    @property
    def labelled(self) -> int:
        """Labelled examples so far, over all partitions."""
        return sum(self._learned.values())

    def open_incidents(self) -> list[Incident]:
        """Incidents that have not closed, the newest first."""
        return [incident for incident in reversed(self.incidents.values()) if incident.status != "closed"]

    def quality(self, version: str) -> dict[str, float | None] | None:
        """All metrics of ``version`` on the labelled rows that it scored; None where it scored none.

        They are counted from where serving's memory of ``metrics`` begins.
        """
        block = self._scores.get(version)
        if block is None or not block.n:
            return None
        return {"rows": float(block.n), **measures(self._pipeline, block)}

    def scores(self) -> dict[str, dict[str, float | None]]:
        """Per version its rows, its quality (accuracy; regression: MAE) and its log loss, in short."""
        regression = self._pipeline.task == "regression"
        return {
            version: {
                "rows": block.n,
                "quality": (block.absolute_error if regression else block.correct) / block.n,
                "log_loss": None if regression else block.log_loss / block.n,
            }
            for version, block in self._scores.items()
            if block.n
        }

    def alert_page(self, limit: int, before: int | None) -> tuple[list[NumberedAlert], int | None]:
        """Alerts before number ``before``, newest first, and where the next page begins."""
        older = (each for each in reversed(self.alerts) if before is None or each.number < before)
        found = list(islice(older, limit + 1))
        return found[:limit], found[limit - 1].number if len(found) > limit else None

    def _drift(self, event: Drift) -> None:
        held = self.incidents.pop(event.id, None)
        self.event_time_ms = max(self.event_time_ms, event.event_time_ms)
        self.drift_score = event.drift_score
        self.health = event.health if event.health is not None else self.health
        self.incidents[event.id] = Incident(
            id=event.id,
            status=event.status,
            kind=event.kind,
            level=event.level,
            detector=event.detector,
            feature=event.feature,
            effect=event.effect,
            p_value=event.p_value,
            performance_drop=event.performance_drop,
            drift_score=event.drift_score,
            advice=event.advice,
            opened_ms=held.opened_ms if held else event.event_time_ms,
            opened_labelled=held.opened_labelled if held else self.labelled,
            event_time_ms=event.event_time_ms,
        )
        if len(self.incidents) > MOST_INCIDENTS:
            self.incidents.popitem(last=False)
