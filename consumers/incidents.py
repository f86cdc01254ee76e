"""The stage that decides what is an alarm: evidence of all partitions becomes incidents."""

from __future__ import annotations

from collections.abc import Sequence

from online.policy.advice import change_line, detail, title
from online.policy.fold import IncidentPolicy
from penstock.events import Alert, Drift, DriftCondition, Evidence, Metrics, PolicyChange, PolicyCommand
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline


class Incidents:
    """Reads ``evidence`` (one partition); writes ``drift`` keyed by incident, and alerts when one opens or worsens.

    While the drift score or the share of drifted features is above its limit of the retraining policy, each look of a
    monitor is also a metrics record that says since when; so are the ``quiet_looks`` after which it has ended. Its
    ``seen`` and ``offset`` count the evidence.

    A change of thresholds on ``evidence`` holds from its offset on, is told as well, and goes to ``commands`` for the
    chain of decisions.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._name = pipeline.name
        self._policy = IncidentPolicy(pipeline)

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """Each incident's events go out with the evidence that caused them; its id names the evidence's offset."""
        outputs: list[Output] = []
        for record in inputs:
            if not isinstance(record.event, Evidence):
                raise TypeError(f"incidents: {record.topic}/{record.offset} is a {type(record.event).__name__}")
            if record.event.stage == "policy" and record.event.change is not None:
                outputs.append(Output("alerts", record.event.record_id, self._told(record.event, record.event.change)))
                outputs.append(Output("commands", record.event.record_id, _noted(record.event, record.event.change)))
            for drift in self._policy.update(record.event, record.offset):
                outputs.append(Output("drift", drift.id, drift))
                if drift.status != "closed":
                    outputs.append(Output("alerts", drift.id, self._alert(drift)))
            condition = self._policy.watch(record.event)
            if condition is not None:
                outputs.append(Output("metrics", "incidents", _metrics(record.event, record.offset, condition)))
        return outputs

    def _told(self, evidence: Evidence, change: PolicyChange) -> Alert:
        return Alert(
            id=evidence.record_id,
            severity="info",
            title=f"{self._name}: thresholds of the drift policy changed",
            detail=change_line(change),
            at_ms=evidence.event_time_ms,
            source="incidents",
        )

    def _alert(self, drift: Drift) -> Alert:
        return Alert(
            id=f"{drift.id}-{drift.status}",
            severity=drift.level,
            title=title(self._name, drift),
            detail=detail(drift),
            at_ms=drift.event_time_ms,
            source="incidents",
            incident=drift.id,
        )

    def state(self) -> bytes:
        """The newest evidence of each partition, the open incidents, the changed thresholds and what lasts."""
        return self._policy.state()

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        self._policy.restore(state)


def _metrics(evidence: Evidence, offset: int, condition: DriftCondition) -> Metrics:
    return Metrics(
        stage="incidents",
        partition=0,
        seen=offset + 1,
        record_id=evidence.record_id,
        event_time_ms=evidence.event_time_ms,
        generation=evidence.generation,
        offset=offset,
        condition=condition,
    )


def _noted(evidence: Evidence, change: PolicyChange) -> PolicyCommand:
    return PolicyCommand(
        id=evidence.record_id,
        by=change.by,
        at_ms=evidence.event_time_ms,
        change=change_line(change),
        reason=change.reason,
    )
