"""The stage that writes reports on incidents: what, since when, how far, who answered, what was decided."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from consumers.incident_text import drift_text, rollback_text
from online.policy.advice import moment, title
from penstock.events import Decision, Drift, Happening, IncidentReport, Level, Metrics
from penstock.models.slot import ONLINE
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline

#: Incidents that later decisions may still belong to; the closed ones are forgotten first.
FOLLOWED = 50
#: Lines of a timeline.
LONGEST_TIMELINE = 200

#: What says nothing of an incident unless it names it.
_ASIDE = ("recorded", "not_started", "settled")


class _Followed(msgspec.Struct, array_like=True):
    """An incident that is followed. ``before``: answered requests by version when it opened; ``runs``: its retrains.

    ``answered``: requests by version while it was open (None: it still is).
    """

    drift: Drift
    opened_ms: int
    before: dict[str, int]
    revision: int = 0
    runs: list[str] = []
    decisions: list[int] = []
    timeline: list[Happening] = []
    answered: dict[str, int] | None = None


class _Reign(msgspec.Struct, array_like=True):
    """Who serves, since when, and how many requests each version had answered by then."""

    version: str = ONLINE
    since_ms: int | None = None
    before: dict[str, int] = {}


class _State(msgspec.Struct, array_like=True):
    answered: dict[str, int]
    reign: _Reign
    followed: dict[str, _Followed]


class IncidentReports:
    """Reads ``drift``, ``metrics`` and ``decisions``; writes ``incident-reports``, keyed by incident.

    A drift incident gets a new revision whenever it opens, escalates, closes, or a decision belongs to it: one whose
    trigger it is, one of a run that it started, and all that changes who serves while it is open. A rollback gets one.
    Which metrics had come by then is a matter of arrival; the report says what was known, once.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._name = pipeline.name
        self._held = _State({}, _Reign(), {})

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """Reports go out with the record that changed them."""
        reports: list[IncidentReport] = []
        for record in inputs:
            event = record.event
            if isinstance(event, Metrics):
                for version, count in event.answered.items():
                    self._held.answered[version] = self._held.answered.get(version, 0) + count
            elif isinstance(event, Drift):
                reports.append(self._drifted(event))
            elif isinstance(event, Decision):
                reports += self._decided(event)
            else:
                raise TypeError(f"notifier: {record.topic}/{record.offset} is a {type(event).__name__}")
        return [Output("incident-reports", report.id, report) for report in reports]

    def _drifted(self, drift: Drift) -> IncidentReport:
        held = self._held.followed.get(drift.id)
        if held is None:
            held = _Followed(drift, drift.event_time_ms, dict(self._held.answered))
            self._held.followed[drift.id] = held
            self._forget()
        if drift.status != "closed":
            self._tell(held, drift.event_time_ms, f"{drift.status}, {drift.level}: {drift.kind} ({drift.detector})")
        else:
            self._tell(held, drift.event_time_ms, "closed")
            held.answered = self._since(held.before)
        # the histograms are in the topic ``drift``; here they would only take room
        bare = [msgspec.structs.replace(cause, histogram=None) for cause in drift.causes]
        held.drift = msgspec.structs.replace(drift, histogram=None, causes=bare)
        return self._report(held, drift.event_time_ms)

    def _forget(self) -> None:
        while len(self._held.followed) > FOLLOWED:
            closed = (identity for identity, held in self._held.followed.items() if held.drift.status == "closed")
            del self._held.followed[next(closed, next(iter(self._held.followed)))]

    def _decided(self, decision: Decision) -> list[IncidentReport]:
        reports = []
        for held in self._held.followed.values():
            own = decision.trigger == f"drift:{held.drift.id}"
            if own and decision.run_id and decision.step == "triggered" and decision.run_id not in held.runs:
                held.runs.append(decision.run_id)
            belongs = own or (decision.run_id in held.runs and decision.step != "recorded")
            beside = held.drift.status != "closed" and decision.step not in _ASIDE
            if belongs or beside:
                held.decisions.append(decision.seq)
                self._tell(held, decision.event_time_ms, _line(decision))
                reports.append(self._report(held, decision.event_time_ms))
        if decision.step == "rolled_back":
            reports.append(self._rolled_back(decision))
        if decision.step in ("promoted", "rolled_back"):
            self._held.reign = _Reign(decision.version, decision.event_time_ms, dict(self._held.answered))
        return reports

    def _rolled_back(self, decision: Decision) -> IncidentReport:
        reign = self._held.reign
        answered = self._since(reign.before)
        level: Level = "warning" if decision.by else "critical"
        name = f"{self._name}: rolled back from {reign.version} to {decision.version}"
        since = "the first request" if reign.since_ms is None else moment(reign.since_ms)
        timeline = [Happening(event_time_ms=decision.event_time_ms, what=_line(decision))]
        if reign.since_ms is not None:
            timeline.insert(0, Happening(event_time_ms=reign.since_ms, what=f"{reign.version} began to serve"))
        facts = [
            ("when", moment(decision.event_time_ms)),
            ("why", decision.reason),
            ("asked for by", decision.by or "nobody: it followed from the data"),
            ("trigger", decision.trigger),
            ("served since", since),
            ("decision", str(decision.seq)),
        ]
        return IncidentReport(
            id=rollback_id(decision),
            kind="rollback",
            revision=1,
            status="closed",
            level=level,
            title=name,
            opened_ms=decision.event_time_ms,
            event_time_ms=decision.event_time_ms,
            markdown=rollback_text(name, facts, answered, timeline),
            since_event_time_ms=reign.since_ms,
            answered=answered,
            decisions=[decision.seq],
            timeline=timeline,
        )

    def _tell(self, held: _Followed, at_ms: int, what: str) -> None:
        if len(held.timeline) < LONGEST_TIMELINE:
            held.timeline.append(Happening(event_time_ms=at_ms, what=what))

    def _since(self, before: dict[str, int]) -> dict[str, int]:
        return {
            version: count - before.get(version, 0)
            for version, count in self._held.answered.items()
            if count > before.get(version, 0)
        }

    def _report(self, held: _Followed, at_ms: int) -> IncidentReport:
        drift, answered = held.drift, self._since(held.before) if held.answered is None else held.answered
        held.revision += 1
        name = title(self._name, drift)
        return IncidentReport(
            id=drift.id,
            kind="drift",
            revision=held.revision,
            status="closed" if drift.status == "closed" else "open",
            level=drift.level,
            title=name,
            opened_ms=held.opened_ms,
            event_time_ms=at_ms,
            markdown=drift_text(name, held.opened_ms, drift, answered, held.timeline),
            since_event_time_ms=drift.since_event_time_ms,
            answered=answered,
            decisions=list(held.decisions),
            timeline=list(held.timeline),
        )

    def state(self) -> bytes:
        """The counts of answered requests, who serves, and the incidents that are followed."""
        return msgspec.msgpack.encode(self._held)

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        self._held = msgspec.msgpack.decode(state, type=_State)


def rollback_id(decision: Decision) -> str:
    """The id of the report on a rollback."""
    return f"rollback-{decision.seq}"


def _line(decision: Decision) -> str:
    version = f" {decision.version}" if decision.version else ""
    who = f", by {decision.by}" if decision.by else ""
    return f"decision {decision.seq}: {decision.step}{version}{who}: {decision.reason}"
