"""What starts a run besides critical drift, what people ask for, and what keeps a run from starting."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.events import (
    CancelCommand,
    Decision,
    Drift,
    DriftCondition,
    Metrics,
    OutcomeCommand,
    PauseCommand,
    RetrainCommand,
    ScoreBlock,
    TickCommand,
)
from penstock.spec import DAY_MS
from tests.unit.retraining.test_triggers import LOOK, Bench, only

HOUR_MS = 3_600_000


def look(bench: Bench, event_time_ms: int, correct: int | None = None) -> list[Decision]:
    """A hundred rows more, at an event time of their own."""
    bench.now += LOOK
    blocks = {} if correct is None else {"champion": ScoreBlock(n=LOOK, correct=correct)}
    new: list[Decision] = []
    for stage in ("monitor", "learner"):
        metrics = Metrics(
            stage=stage,
            partition=0,
            seen=bench.now,
            record_id=str(bench.now - 1),
            event_time_ms=event_time_ms,
            generation=bench.retrainer.state.champion.generation,
            offset=bench.now - 1,
            blocks=blocks if stage == "learner" else {},
        )
        new += bench.give("metrics", metrics)
    return new


def warn(bench: Bench, identity: str, at_ms: int, **changes: Any) -> list[Decision]:
    return bench.drift(identity, since=at_ms, level="warning", event_time_ms=at_ms, **changes)


def pause(bench: Bench, paused: bool = True, identity: str = "p") -> Decision:
    """The decision on the command; what waited for the end of a pause may follow it."""
    return bench.give("commands", PauseCommand(id=identity, by="ann", at_ms=5, paused=paused))[0]


def ended(bench: Bench, at: int = 2000) -> None:
    """A run that a person asked for has failed; ``cooldown_rows`` is over."""
    bench.advance(at)
    bench.give("commands", RetrainCommand(id=f"c{at}", by="ann", at_ms=0))
    bench.outcome(error="x")
    bench.advance(at + 400)
    bench.decisions.clear()


# Warnings


def test_the_third_warning_of_a_day_starts_a_run_from_the_newest_change() -> None:
    bench = Bench()
    for hour in range(1, 11):
        look(bench, hour * HOUR_MS)
    assert warn(bench, "a", 3 * HOUR_MS) == warn(bench, "b", 5 * HOUR_MS) == []
    decision = only(warn(bench, "c", 9 * HOUR_MS, since_event_time_ms=8 * HOUR_MS))
    assert (decision.step, decision.trigger) == ("triggered", "warnings:c")
    assert decision.reason == "3 warnings within 24 hours (a, b, c)"
    assert decision.data is not None
    assert decision.data.offsets == {"0": (799, 1000)}


def test_one_incident_is_one_warning_however_often_it_is_told() -> None:
    bench = Bench()
    bench.advance(1000)
    for status in ("opened", "opened", "closed", "opened"):
        assert warn(bench, "a", 900, status=status) == []


def test_warnings_that_are_too_far_apart_do_not_add_up() -> None:
    bench = Bench()
    for hour in (0, 10, 26):
        look(bench, hour * HOUR_MS)
        assert warn(bench, f"w{hour}", hour * HOUR_MS) == []
    look(bench, 27 * HOUR_MS)
    assert only(warn(bench, "x", 27 * HOUR_MS)).step == "triggered"


def test_a_warning_that_became_critical_is_none_any_more() -> None:
    bench = Bench()
    bench.advance(1000)
    warn(bench, "a", 900)
    warn(bench, "b", 901)
    assert only(bench.drift("b", since=900, status="escalated")).trigger == "drift:b"
    ended(bench)
    assert warn(bench, "c", 2390) == warn(bench, "d", 2391) == [], "the run counted those before it"
    assert only(warn(bench, "e", 2392)).step == "triggered"


def test_warnings_are_counted_anew_after_a_decision() -> None:
    bench = Bench()
    bench.advance(1000)
    bench.drift("x", since=100)
    bench.advance(1200)
    assert bench.steps() == ["triggered", "collected"]
    told = [warn(bench, f"w{i}", 1201 + i) for i in range(5)]
    assert [len(each) for each in told] == [0, 0, 1, 0, 0]
    assert "is going on (fitting); starts after it" in only(told[2]).reason


@pytest.mark.parametrize("policy", [{"warnings": None}, {"warnings": 4}])
def test_the_number_of_warnings_is_a_setting(policy: dict[str, Any]) -> None:
    bench = Bench(**policy)
    bench.advance(1000)
    assert [warn(bench, name, 900) for name in "abc"] == [[], [], []]


def test_where_critical_drift_is_no_trigger_it_is_a_warning() -> None:
    bench = Bench(critical=False, warnings=2)
    bench.advance(1000)
    assert bench.drift("a", since=900) == []
    assert only(bench.drift("b", since=900)).trigger == "warnings:b"


def test_warnings_from_before_a_restart_count() -> None:
    bench = Bench()
    bench.advance(1000)
    warn(bench, "a", 900)
    warn(bench, "b", 901)
    heard = bench.heard
    bench.retrainer = type(bench.retrainer)(bench.pipeline)
    for event in heard:  # as `started_retrainer` does
        if isinstance(event, Metrics | Drift):
            bench.retrainer.observe(event)
    assert only(warn(bench, "c", 950)).step == "triggered"


# Conditions that last


def test_a_warning_that_does_not_close_starts_one_run() -> None:
    bench = Bench(warning_rows=1500)
    bench.advance(2000)
    warn(bench, "a", 1900, since_event_time_ms=1600)
    bench.advance(3300)
    assert bench.decisions == []
    bench.advance(6000)
    assert bench.steps() == ["triggered", "collected"]
    decision = bench.decisions[0]
    assert decision.trigger == "warning:a"
    assert decision.reason == "warning a is open since 1970-01-01T00:00:01Z, 1500 labelled rows and more"
    assert decision.data is not None
    assert decision.data.offsets["0"][0] == 1699, "what came before is another world"
    bench.outcome(error="x")
    bench.advance(9000)
    assert bench.steps() == ["triggered", "collected", "failed"]


@pytest.mark.parametrize("policy", [{"warning_rows": 1500}, {"warning_rows": None}])
def test_a_warning_that_closes_or_is_no_trigger_starts_nothing(policy: dict[str, Any]) -> None:
    bench = Bench(**policy)
    bench.advance(2000)
    warn(bench, "a", 1900)
    bench.advance(3000)
    if policy["warning_rows"] is not None:
        warn(bench, "a", 2900, status="closed")
        warn(bench, "b", 2950, generation=-1)
    bench.advance(9000)
    assert bench.decisions == []


def test_a_warning_that_lasts_gives_a_run_that_started_after_it_its_time() -> None:
    bench = Bench(warning_rows=1500)
    bench.advance(2000)
    warn(bench, "a", 1900)
    bench.give("commands", RetrainCommand(id="c", by="ann", at_ms=0))
    bench.outcome(error="x")
    bench.decisions.clear()
    bench.advance(3400)
    assert bench.decisions == []
    bench.advance(3600)
    assert bench.decisions[0].trigger == "warning:a"


def test_a_drop_of_the_served_performance_starts_a_run_once() -> None:
    bench = Bench()
    for row in range(40):
        assert look(bench, row, correct=85) == []
    new = [decision for row in range(40, 60) for decision in look(bench, row, correct=70)]
    assert [decision.step for decision in new] == ["triggered", "collected"]
    assert new[0].trigger.startswith("performance-drop:4")
    assert "accuracy 0.7" in new[0].reason
    assert new[0].data is not None
    assert new[0].data.offsets["0"][0] >= 3899, "the rows before the drop are of a concept that is gone"
    bench.outcome(error="x")
    assert [decision for row in range(60, 75) for decision in look(bench, row, correct=70)] == []


def test_what_is_in_the_way_of_a_condition_is_told_once_each() -> None:
    bench = Bench(new_rows=3000, daily_runs=2)
    ended(bench)
    pause(bench)
    bench.decisions.clear()
    bench.advance(7000)
    assert bench.steps() == ["not_started"]
    assert bench.decisions[0].trigger == "volume:1"
    assert bench.decisions[0].reason.endswith("retraining is paused by ann since 1970-01-01T00:00:02Z")
    pause(bench, paused=False, identity="r")
    assert bench.steps() == ["not_started", "resumed", "triggered", "collected"]
    bench.outcome(error="x")
    bench.advance(12_000)
    assert bench.steps()[4:] == ["failed", "not_started"]
    assert "the budget of 2 runs within 24 hours is used up until 1970-01-02T" in bench.decisions[-1].reason


def conditioned(bench: Bench, offset: int, at_ms: int, **values: Any) -> list[Decision]:
    defaults = {"drift_score": 0.0, "drifted_share": 0.0}
    metrics = Metrics(
        stage="incidents",
        partition=0,
        seen=bench.now,
        record_id="e",
        event_time_ms=at_ms,
        generation=0,
        offset=offset,
        condition=DriftCondition(**(defaults | values)),
    )
    return bench.give("metrics", metrics)


def test_a_drift_score_has_to_last_a_day() -> None:
    bench = Bench()
    since = 5 * HOUR_MS
    for hour in range(32):
        look(bench, hour * HOUR_MS)
        new = conditioned(bench, hour, hour * HOUR_MS, drift_score=0.8, drift_score_since_ms=since)
        if hour < 29:
            assert new == []
    assert bench.steps() == ["triggered", "collected"]
    assert bench.decisions[0].trigger == f"drift-score:{since}"
    assert bench.decisions[0].event_time_ms == since + DAY_MS
    assert bench.decisions[0].data is not None
    assert bench.decisions[0].data.offsets == {"0": (599, 2900)}


@pytest.mark.parametrize(
    ("policy", "values"),
    [
        ({"drift_score": None}, {"drift_score": 0.9, "drift_score_since_ms": -2 * DAY_MS}),
        ({}, {"drift_score": 0.6, "drift_score_since_ms": -2 * DAY_MS}),
        ({}, {"drift_score": 0.9, "drift_score_since_ms": 0}),
        ({"drifted_share": None}, {"drifted_share": 0.9, "drifted_share_since_ms": 0}),
        ({}, {"drifted_share": 0.2, "drifted_share_since_ms": 0}),
    ],
)
def test_what_is_off_or_below_or_has_ended_starts_nothing(policy: dict[str, Any], values: dict[str, Any]) -> None:
    bench = Bench(**policy)
    bench.advance(1000)
    assert conditioned(bench, 1, 999, **values) == []


def test_many_drifted_features_start_a_run_at_once() -> None:
    bench = Bench()
    bench.advance(1000)
    values = {"drifted_share": 0.4, "drifted_share_since_ms": 700}
    decision = conditioned(bench, 1, 999, **values)[0]
    assert (decision.step, decision.trigger) == ("triggered", "drifted-features:700")
    assert decision.data is not None
    assert decision.data.offsets["0"][0] == 799
    assert conditioned(bench, 1, 999, **values) == conditioned(bench, 2, 1999, **values) == []


def test_new_rows_start_a_run_and_then_count_from_there() -> None:
    bench = Bench(new_rows=3000)
    bench.advance(2900)
    assert bench.decisions == []
    bench.advance(3000)
    assert bench.steps() == ["triggered", "collected"]
    bench.outcome(error="x")
    bench.advance(5900)
    assert bench.steps() == ["triggered", "collected", "failed"]
    bench.advance(6000)
    assert bench.decisions[-2].trigger == "volume:1"


# The schedule


def tick(at_ms: int = 7, schedule: str = "0 2 * * 0", identity: str = "t") -> TickCommand:
    return TickCommand(id=identity, at_ms=at_ms, schedule=schedule)


@pytest.mark.parametrize("schedule", ["0 2 * * 0", "at_latest"])
def test_a_tick_starts_a_run_on_the_newest_rows(schedule: str) -> None:
    bench = Bench()
    bench.advance(3000)
    first, second = bench.give("commands", tick(schedule=schedule))
    assert (first.step, first.trigger, second.step) == ("triggered", "tick:t", "collected")
    assert bench.give("commands", tick(schedule=schedule)) == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"schedule": None}, "no longer has this schedule"),
        ({"schedule": "0 3 * * *"}, "no longer has this schedule"),
        ({"enabled": False}, "switched off"),
    ],
)
def test_a_tick_that_starts_nothing_says_why(policy: dict[str, Any], said: str) -> None:
    bench = Bench(**policy)
    bench.advance(3000)
    decision = only(bench.give("commands", tick()))
    assert decision.step == "not_started"
    assert said in decision.reason
    assert bench.give("commands", tick()) == []


def test_a_tick_without_new_rows_or_in_the_way_starts_nothing() -> None:
    bench = Bench(cooldown_rows=0)
    assert "no row is labelled yet" in only(bench.give("commands", tick(identity="t0"))).reason
    bench.advance(2000)
    bench.give("commands", tick(identity="t1"))
    assert "is going on" in only(bench.give("commands", tick(identity="t2"))).reason
    bench.outcome(error="x")
    assert "no row was labelled since" in only(bench.give("commands", tick(identity="t3"))).reason
    bench.advance(2100)
    pause(bench)
    assert "paused by ann" in only(bench.give("commands", tick(identity="t4"))).reason


# People


def test_a_pause_stops_triggers_but_no_person_and_no_run() -> None:
    bench = Bench()
    bench.advance(1000)
    run = bench.drift("a", since=900)[0].run_id
    paused = pause(bench)
    assert (paused.step, paused.by, paused.run_id) == ("paused", "ann", "")
    bench.advance(2000)
    assert (bench.decisions[-1].step, bench.decisions[-1].run_id) == ("collected", run)
    bench.outcome(error="x")
    bench.advance(2500)
    decision = only(bench.drift("b", since=2400))
    assert decision.step == "not_started"
    assert "retraining is paused by ann since 1970-01-01T00:00:01Z" in decision.reason
    asked = bench.give("commands", RetrainCommand(id="c", by="bob", at_ms=0))[0]
    assert (asked.step, asked.by) == ("triggered", "bob")


def test_what_waits_is_not_started_while_retraining_is_paused() -> None:
    bench = Bench()
    ended(bench)
    bench.give("commands", RetrainCommand(id="c", by="ann", at_ms=0))
    bench.outcome(error="x")
    assert "cooling down" in only(bench.drift("b", since=2300)).reason
    pause(bench)
    bench.advance(4000)
    assert bench.steps()[-1] == "paused"
    pause(bench, paused=False, identity="r")
    assert bench.steps()[-2:] == ["resumed", "triggered"] or bench.steps()[-3:-1] == ["resumed", "triggered"]
    assert "drift:b" in {decision.trigger for decision in bench.decisions if decision.step == "triggered"}


def test_what_is_so_already_is_refused_and_a_repeat_is_not_answered() -> None:
    bench = Bench()
    refused = pause(bench, paused=False)
    assert (refused.step, refused.by) == ("refused", "ann")
    assert refused.reason == "asked for by ann: retraining is not paused"
    assert pause(bench, identity="q").step == "paused"
    assert "is paused by ann since" in pause(bench, identity="r").reason
    assert bench.give("commands", PauseCommand(id="q", by="ann", at_ms=5, paused=True)) == []


def test_a_cancelled_run_ends_and_its_late_outcome_is_ignored() -> None:
    bench = Bench()
    bench.advance(1000)
    bench.drift("a", since=100)
    bench.advance(1200)
    run = bench.retrainer.state.run
    assert run is not None
    command = CancelCommand(id="c", by="ann", at_ms=0, reason="wrong data")
    cancelled = only(bench.give("commands", command))
    assert (cancelled.step, cancelled.run_id, cancelled.by) == ("cancelled", run.id, "ann")
    assert "wrong data (fitting)" in cancelled.reason
    assert bench.give("commands", command) == []
    assert bench.retrainer.state.run is None
    late = OutcomeCommand(id="o", run_id=run.id, step="fit", at_ms=0, winner="forest")
    assert only(bench.give("commands", late)).step == "recorded"
    assert bench.retrainer.state.run is None
    assert "cooling down" in only(bench.drift("b", since=1050)).reason


def test_a_cancelled_shadow_leaves_its_slot() -> None:
    bench = Bench()
    bench.advance(1000)
    bench.drift("a", since=100)
    bench.advance(1200)
    bench.passed()
    assert bench.models[-1].version == "v1"
    cancelled = only(bench.give("commands", CancelCommand(id="c", by="ann", at_ms=0)))
    assert cancelled.version == "v1"
    assert (bench.models[-1].slot, bench.models[-1].version) == ("challenger", "")
    bench.advance(2000)
    assert "promoted" not in bench.steps()


@pytest.mark.parametrize("run_id", ["", "other"])
def test_there_is_nothing_to_cancel(run_id: str) -> None:
    bench = Bench()
    refused = only(bench.give("commands", CancelCommand(id="c", by="ann", at_ms=0, run_id=run_id)))
    assert (refused.step, refused.by) == ("refused", "ann")
    assert "going on" in refused.reason
    bench.advance(1000)
    bench.drift("a", since=900)
    other = only(bench.give("commands", CancelCommand(id="d", by="ann", at_ms=0, run_id="other")))
    assert other.step == "refused"
    assert bench.retrainer.state.run is not None


# The budget


def test_the_budget_binds_everybody_and_frees_itself() -> None:
    bench = Bench(daily_runs=1, cooldown_rows=0)
    for hour in range(1, 11):
        look(bench, hour * HOUR_MS)
    assert bench.drift("a", since=0, event_time_ms=10 * HOUR_MS)[0].step == "triggered"
    assert look(bench, 10 * HOUR_MS)[0].step == "collected"
    bench.outcome(error="x")
    asked = only(bench.give("commands", RetrainCommand(id="c", by="ann", at_ms=0)))
    assert (asked.step, asked.by) == ("not_started", "ann")
    assert "the budget of 1 runs within 24 hours is used up until 1970-01-02T10:00:00Z" in asked.reason
    assert "is used up" in only(bench.drift("b", since=10 * HOUR_MS, event_time_ms=10 * HOUR_MS)).reason
    assert look(bench, 33 * HOUR_MS) == []
    assert look(bench, 34 * HOUR_MS)[0].trigger == "drift:b"


def test_a_record_with_a_time_far_in_the_future_does_not_use_the_budget_up_for_ever() -> None:
    bench = Bench(daily_runs=1, cooldown_rows=0)
    bench.advance(1000)
    bench.drift("a", since=100, event_time_ms=253_402_300_799_999)
    assert bench.steps() == ["triggered"]
    bench.advance(1200)
    bench.outcome(error="x")
    bench.advance(1300)
    assert bench.drift("b", since=1200)[0].step == "triggered"
