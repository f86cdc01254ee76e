"""What a report on an incident says, and when there is a new one."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.incident_report import FOLLOWED, IncidentReports
from penstock.events import Cause, Decision, Drift, IncidentReport, Label, Metrics
from penstock.runtime.stage import Input
from penstock.spec import Numeric, Pipeline
from penstock.testing.stage_conformance import check_stage

PIPELINE = Pipeline(name="loans", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))


def drift(status: Any = "opened", identity: str = "d1", at_ms: int = 1000, **said: Any) -> Drift:
    cause = Cause(detector="ks", effect=0.4, p_value=1e-9, feature="x", reference_mean=1.0, current_mean=3.0)
    known: dict[str, Any] = {
        "kind": "covariate",
        "level": "warning",
        "detector": "ks",
        "statistic": 0.4,
        "effect": 0.4,
        "p_value": 1e-9,
        "record_id": "r",
        "generation": 0,
        "seen": 10,
        "drift_score": 0.4,
        "since_event_time_ms": 500,
        "reference": "the first 1000 predictions",
        "advice": "Check x at its source.",
        "causes": [cause],
    }
    return Drift(id=identity, status=status, event_time_ms=at_ms, **(known | said))


def decision(seq: int, step: Any, trigger: str = "", run_id: str = "", **said: Any) -> Decision:
    known: dict[str, Any] = {"record_id": "r", "reason": f"because of {seq}", "generation": 0}
    return Decision(seq=seq, step=step, trigger=trigger, run_id=run_id, event_time_ms=2000 + seq, **(known | said))


def answered(seen: int, **versions: int) -> Metrics:
    known = {"stage": "monitor", "partition": 0, "record_id": "r", "event_time_ms": seen, "generation": 0, "offset": 0}
    return Metrics(seen=seen, answered=versions, **known)  # type: ignore[arg-type]


def reports(stage: IncidentReports, *events: Any) -> list[IncidentReport]:
    outputs = stage.process([Input("t", 0, offset, offset, event) for offset, event in enumerate(events)])
    assert all(output.topic == "incident-reports" and output.key == output.event.id for output in outputs)  # type: ignore[attr-defined]
    return [output.event for output in outputs if isinstance(output.event, IncidentReport)]


def test_a_report_says_what_when_since_how_far_and_who_answered() -> None:
    stage = IncidentReports(PIPELINE)
    reports(stage, answered(100, online=100))
    (opened,) = reports(stage, drift())
    assert (opened.id, opened.kind, opened.revision, opened.status) == ("d1", "drift", 1, "open")
    assert (opened.opened_ms, opened.since_event_time_ms, opened.answered) == (1000, 500, {})
    (closed,) = reports(stage, answered(200, online=60, v1=40), drift("closed", at_ms=9000))
    assert (closed.revision, closed.status, closed.answered) == (2, "closed", {"online": 60, "v1": 40})
    for said in (
        "# loans: warning covariate drift closed\n",
        "- changed since: 1970-01-01T00:00:00Z (the detector's estimate)",
        "- compared with: the first 1000 predictions",
        "| x | ks | 0.400 | 1e-09 | 1 | 3 |  |",
        "Check x at its source.",
        "- online: 60\n- v1: 40",
        "- 1970-01-01T00:00:01Z: opened, warning: covariate (ks)",
        "- 1970-01-01T00:00:09Z: closed",
    ):
        assert said in closed.markdown, said


def test_decisions_of_the_runs_that_it_started_belong_to_it_also_after_it_closed() -> None:
    stage = IncidentReports(PIPELINE)
    found = reports(
        stage,
        drift(level="critical"),
        decision(0, "triggered", "drift:d1", "run-1"),
        decision(1, "recorded", "command:a", command="a"),
        drift("closed", at_ms=5000),
        decision(2, "promoted", "drift:d1", "run-1", version="v1"),
        decision(3, "triggered", "drift:d2", "run-2"),
    )
    assert [report.decisions for report in found] == [[], [0], [0], [0, 2]]
    assert [item.what for item in found[-1].timeline][-1] == "decision 2: promoted v1: because of 2"


def test_what_was_answered_after_it_closed_is_not_counted() -> None:
    stage = IncidentReports(PIPELINE)
    found = reports(
        stage,
        drift(),
        answered(100, online=100),
        drift("closed"),
        answered(200, online=100),
        decision(1, "rejected", "drift:d1", "run-1"),
    )
    assert found[-1].answered == {"online": 100}


def test_a_rollback_has_a_report_of_its_own_and_is_in_those_that_are_open() -> None:
    stage = IncidentReports(PIPELINE)
    found = reports(
        stage,
        answered(50, online=50),
        decision(0, "promoted", "command:x", "run-1", version="v1"),
        drift(),
        answered(90, v1=40),
        decision(1, "rolled_back", "command:y", version="online", by="ada", reason="complaints\n# not a heading"),
    )
    beside, own = found[-2:]
    assert (beside.id, beside.decisions) == ("d1", [1])
    assert (own.id, own.kind, own.level, own.status) == ("rollback-1", "rollback", "warning", "closed")
    assert own.answered == {"v1": 40}
    assert own.since_event_time_ms == 2000
    assert own.title == "loans: rolled back from v1 to online"
    assert "- why: complaints # not a heading\n- asked for by: ada\n" in own.markdown


def test_a_rollback_that_nobody_asked_for_is_critical() -> None:
    (own,) = reports(IncidentReports(PIPELINE), decision(4, "rolled_back", "rollback:run-1", version="online"))
    assert (own.id, own.level) == ("rollback-4", "critical")
    assert "served since: the first request" in own.markdown


def test_an_incident_whose_beginning_is_unknown_is_reported_all_the_same() -> None:
    (report,) = reports(IncidentReports(PIPELINE), drift("escalated", at_ms=7000, level="critical"))
    assert (report.opened_ms, report.level) == (7000, "critical")


def test_memory_is_bounded_and_the_closed_ones_are_forgotten_first() -> None:
    stage = IncidentReports(PIPELINE)
    reports(stage, drift(identity="open"))
    for number in range(FOLLOWED + 5):
        reports(stage, drift(identity=f"d{number}"), drift("closed", identity=f"d{number}"))
    assert reports(stage, drift("closed", identity="open", at_ms=9))[0].opened_ms == 1000
    assert len(stage._held.followed) == FOLLOWED


def test_the_stage_is_a_function_of_its_input() -> None:
    events: list[Any] = []
    for number in range(12):
        events += [drift(identity=f"d{number}"), answered(number, online=5), decision(number, "promoted", version="v1")]
        events += [drift("closed", identity=f"d{number}")] if number % 2 else []
    inputs = [Input("drift", 0, offset, offset, event) for offset, event in enumerate(events)]
    check_stage(lambda: IncidentReports(PIPELINE), inputs)


def test_another_event_is_a_bug() -> None:
    with pytest.raises(TypeError, match="labels/4"):
        IncidentReports(PIPELINE).process([Input("labels", 0, 4, 0, Label(id="a", value=1))])
