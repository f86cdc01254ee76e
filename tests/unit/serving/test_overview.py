from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.tally import tally_of
from penstock.events import (
    Alert,
    Decision,
    Drift,
    Event,
    GateResult,
    Metrics,
    ModelRecord,
    ScoreBlock,
    encode,
)
from penstock.log.port import Record
from penstock.spec import Numeric, Pipeline
from serving.overview import MAX_ALERTS, MAX_VERSIONS, Overview
from serving.rates import HISTORY_S, Rate
from serving.rolling import MAX_POINTS, Rolling
from tests.unit.serving.stand import PIPELINE

REGRESSION = Pipeline(name="r", task="regression", target="y", features=(Numeric("x"),))


def record(topic: str, event: Event | bytes, at_ms: int = 0) -> Record:
    return Record(topic, 0, 0, at_ms, None, event if isinstance(event, bytes) else encode(event))


def metrics(seen: int, generation: int = 0, partition: int = 0, **correct: int) -> Metrics:
    return Metrics(
        stage="learner",
        partition=partition,
        seen=seen,
        record_id=str(seen),
        event_time_ms=seen * 1000,
        generation=generation,
        offset=seen,
        blocks={name: ScoreBlock(n=100, correct=c, absolute_error=float(c)) for name, c in correct.items()},
    )


def drift(status: Any, level: Any = "warning", row: int = 0, **about: Any) -> Drift:
    return Drift(
        id="d",
        status=status,
        kind="covariate",
        level=level,
        detector="ks",
        statistic=0.3,
        effect=about.pop("effect", 0.3),
        p_value=1e-6,
        record_id="r",
        event_time_ms=row * 1000,
        generation=0,
        seen=row,
        drift_score=0.3,
        feature="salary",
        **about,
    )


def decision(step: Any, generation: int = 0, row: int = 0, **about: Any) -> Decision:
    return Decision(
        seq=0,
        run_id="run-1",
        step=step,
        event_time_ms=row * 1000,
        record_id="r",
        trigger="drift",
        reason=f"because {step}",
        generation=generation,
        **about,
    )


def test_what_was_served_stands_beside_its_baselines() -> None:
    rolling = Rolling(PIPELINE)
    assert set(rolling.served_quality().values()) == {None}
    positive, negative = PIPELINE.positive, PIPELINE.classes[0]
    for index in range(8):
        tally = tally_of(PIPELINE)
        for row in range(100):
            tally.add(0.9 if row % 2 else 0.2, positive if row % 4 else negative, negative)
        event = msgspec.structs.replace(metrics(100 * (index + 1)), blocks={"champion": tally.block()})
        rolling.add(event, 0, index)
    found = rolling.served_quality()
    assert found["accuracy"] == 0.75
    assert found["majority_accuracy"] == 0.75
    assert found["no_change_accuracy"] == 0.25
    assert found["kappa"] == pytest.approx(0.5)


def test_rolling_accuracy_is_over_the_last_500_labelled() -> None:
    rolling = Rolling(PIPELINE)
    for index, correct in enumerate([0, 0, 100, 100, 100, 100, 100]):
        rolling.add(metrics((index + 1) * 100, champion=correct), 0, index + 1)
    values = [point["champion"] for point in rolling.since(0)]
    assert values == pytest.approx([0, 0, 1 / 3, 0.5, 0.6, 0.8, 1.0])


def test_a_regression_is_shown_by_its_mean_absolute_error() -> None:
    rolling = Rolling(REGRESSION)
    rolling.add(metrics(100, champion=250), 0, 1)
    assert rolling.since(0)[0]["champion"] == 2.5


def test_versions_are_lines_by_their_role() -> None:
    rolling = Rolling(PIPELINE)
    rolling.served(0, "online")
    rolling.served(1, "v1")
    rolling.served(2, "v2")
    rolling.add(metrics(100, 0, champion=50, online=50, v1=90), 0, 1)
    rolling.add(metrics(200, 1, champion=90, online=50, v1=90, v2=95), 0, 2)
    rolling.add(metrics(300, 2, champion=95, online=50, v1=70, v2=95), 0, 3)
    before, between, after = rolling.since(0)
    assert (before["challenger"], before["challenger_version"]) == (0.9, "v1")
    assert "challenger" in between
    assert (between["challenger_version"], "previous" in between) == ("v2", False)
    assert (after["previous_version"], "challenger" in after) == ("v1", False)


def test_a_version_that_comes_back_starts_a_new_window() -> None:
    rolling = Rolling(PIPELINE)
    for revision, blocks in enumerate([{"v1": 0}, {"v1": 0}, {}, {"v1": 100}]):
        rolling.add(metrics(100 * (revision + 1), champion=50, **blocks), 0, revision + 1)
    assert [point.get("challenger") for point in rolling.since(0)] == [0, 0, None, 1.0]


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 100)), max_size=60))
def test_the_axis_never_goes_back_and_values_stay_shares(steps: list[tuple[int, int]]) -> None:
    rolling = Rolling(PIPELINE)
    for revision, (row, correct) in enumerate(steps, 1):
        rolling.add(metrics(row, champion=correct), 0, revision)
    points = rolling.since(0)
    assert len(points) == len(steps)
    assert [point["x"] for point in points] == sorted(point["x"] for point in points)
    assert all(0 <= point["champion"] <= 1 for point in points)


def test_points_are_bounded_and_the_recent_ones_stay() -> None:
    rolling = Rolling(PIPELINE)
    for revision in range(1, 3 * MAX_POINTS):
        rolling.add(metrics(revision, champion=50), 0, revision)
    revisions = [point["revision"] for point in rolling.since(0)]
    assert len(revisions) <= MAX_POINTS
    assert revisions[-1000:] == list(range(3 * MAX_POINTS - 1000, 3 * MAX_POINTS))
    assert revisions[0] == 1
    assert [point["revision"] for point in rolling.since(3 * MAX_POINTS - 3)] == revisions[-2:]


def test_an_incident_is_one_item_from_opened_to_closed() -> None:
    overview = Overview(PIPELINE)
    overview.fold([record("drift", drift("opened", row=10, advice="look"))])
    [opened] = overview.changes(0, 0)["incidents"]
    assert (opened["status"], opened["level"], opened["opened"]) == ("opened", "warning", 10_000)
    overview.fold([record("drift", drift("escalated", "critical", row=20, effect=0.6))])
    overview.fold([record("drift", drift("closed", "critical", row=50, effect=0.01))])
    [closed] = overview.changes(0, 0)["incidents"]
    assert (closed["status"], closed["level"], closed["effect"]) == ("closed", "critical", 0.6)
    assert (closed["opened"], closed["escalated"], closed["closed"]) == (10_000, 20_000, 50_000)
    overview.fold([record("drift", drift("opened", row=60))])
    assert overview.changes(0, 0)["incidents"][0]["closed"] is None


def test_a_run_keeps_its_steps_and_gates() -> None:
    overview = Overview(PIPELINE)
    gates = [GateResult(name="improvement", value=0.2, threshold=0.01, passed=True)]
    overview.fold(
        [
            record("decisions", decision("triggered", row=5)),
            record("decisions", decision("trained", row=7, gates=gates, version="v1")),
            record("decisions", decision("promoted", generation=1, row=9, version="v1")),
        ]
    )
    state = overview.changes(0, 0)
    [run] = state["runs"]
    assert [step["step"] for step in run["steps"]] == ["triggered", "trained", "promoted"]
    assert run["gates"][0]["value"] == 0.2
    assert (run["version"], run["reason"]) == ("v1", "because promoted")
    [promotion] = state["promotions"]
    assert (promotion["generation"], promotion["version"], promotion["x"]) == (1, "v1", 9000)


def test_a_trigger_that_starts_nothing_is_no_step_of_the_run_under_way() -> None:
    overview = Overview(PIPELINE)
    overview.fold(
        [
            record("decisions", decision("triggered", row=5)),
            record("decisions", msgspec.structs.replace(decision("not_started", row=6), trigger="drift:d2")),
            record("decisions", msgspec.structs.replace(decision("not_started", row=7), trigger="drift:d3", run_id="")),
        ]
    )
    steps = {run["run_id"]: run["step"] for run in overview.changes(0, 0)["runs"]}
    assert sorted(steps.values()) == ["not_started", "not_started", "triggered"]
    assert {"drift:d2", "drift:d3"} < set(steps)


def test_a_rollback_is_told_beside_the_run_that_it_undoes_and_changes_what_serves() -> None:
    overview = Overview(PIPELINE)
    back = msgspec.structs.replace(decision("rolled_back", generation=2, row=9, version="online"), trigger="rollback:1")
    overview.fold([record("decisions", decision("promoted", generation=1, version="v1")), record("decisions", back)])
    state = overview.changes(0, 0)
    assert {run["run_id"]: run["step"] for run in state["runs"]} == {"run-1": "promoted", "rollback:1": "rolled_back"}
    assert [(p["generation"], p["version"]) for p in state["promotions"]] == [(1, "v1"), (2, "online")]


@pytest.mark.parametrize("decision_first", [True, False])
def test_a_promotion_is_told_by_two_topics_in_any_order(decision_first: bool) -> None:
    before = ModelRecord(slot="champion", version="online", kind="online", generation=0)
    told = [
        record("decisions", decision("promoted", generation=1, row=9, version="v1")),
        record("models", ModelRecord(slot="champion", version="v1", kind="batch", generation=1, predecessor=before)),
    ]
    overview = Overview(PIPELINE)
    overview.fold(told if decision_first else told[::-1])
    [promotion] = overview.changes(0, 0)["promotions"]
    assert (promotion["x"], promotion["kind"], promotion["predecessor"]) == (9000, "batch", "online")
    assert promotion["reason"] == "because promoted"


def test_metrics_that_arrive_with_their_promotion_find_it() -> None:
    overview = Overview(PIPELINE)
    overview.fold(
        [
            record("metrics", metrics(100, 1, champion=90, online=50, v1=90)),
            record("decisions", decision("promoted", generation=1, row=9, version="v1")),
        ]
    )
    assert "challenger" not in overview.changes(0, 0)["points"][0]


def test_changes_are_what_is_newer() -> None:
    overview = Overview(PIPELINE)
    overview.fold([record("metrics", metrics(100, champion=50)), record("drift", drift("opened"))])
    revision = overview.changes(0, 0)["revision"]
    assert revision == overview.revision == 2
    assert overview.changes(revision, 0)["incidents"] == []
    overview.fold([record("alerts", Alert(id="a", severity="info", title="t", detail="", at_ms=0, source="s"))])
    newer = overview.changes(revision, 0)
    assert ([alert["id"] for alert in newer["alerts"]], newer["points"]) == (["a"], [])


def test_what_does_not_decode_is_skipped() -> None:
    overview = Overview(PIPELINE)
    overview.fold([record("metrics", b"{"), record("drift", b"{}"), record("metrics", metrics(100, champion=1))])
    assert len(overview.changes(0, 0)["points"]) == 1


def test_alerts_are_bounded_and_a_repeat_is_one() -> None:
    overview = Overview(PIPELINE)
    for number in range(2 * MAX_ALERTS):
        event = Alert(id=str(number // 2), severity="info", title="t", detail="", at_ms=0, source="s")
        overview.fold([record("alerts", event)])
        overview.fold([record("alerts", event)])
    assert len(overview.changes(0, 0)["alerts"]) == MAX_ALERTS


def test_labelled_counts_over_partitions_and_starts_where_the_stream_is() -> None:
    overview = Overview(PIPELINE)
    overview.start_at(1_000)
    overview.fold(
        [
            record("metrics", metrics(5_000, partition=0, champion=50), 1_000),
            record("metrics", metrics(100, partition=1, champion=50), 1_500),
            record("metrics", metrics(5_100, partition=0, champion=50), 2_000),
            record("predictions", b"{}", 2_500),
        ]
    )
    throughput = overview.changes(0, 3_000)["throughput"]
    assert (throughput["labelled"], throughput["predictions"]) == (5_200, 1_001)
    assert throughput["labelled_per_s"] == 100.0


def test_a_rate_is_the_mean_over_full_seconds() -> None:
    rate = Rate(window_s=10)
    assert rate.per_second(0) == 0
    for second in range(30):
        rate.add(7, second * 1000 + 500)
    assert rate.per_second(30_000) == 7.0
    assert rate.per_second(35_000) == 3.5
    assert rate.per_second(100_000) == 0
    assert rate.total == 210


@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 9)), max_size=80))
def test_a_rates_history_never_exceeds_what_was_counted(counted: list[tuple[int, int]]) -> None:
    rate = Rate(window_s=10)
    for at_ms, count in counted:
        rate.add(count, at_ms)
    history = rate.history(400_000)
    assert len(history) == HISTORY_S
    assert 0 <= sum(history) <= rate.total == sum(count for _, count in counted)


def test_the_page_gets_the_newest_versions_and_always_those_that_serve() -> None:
    overview = Overview(PIPELINE)
    told = [
        msgspec.structs.replace(decision(step, generation=1, version=f"v{n}"), seq=n, run_id=f"run-{n}")
        for n in range(150)
        for step in (("trained", "promoted") if n == 0 else ("trained", "rejected"))
    ]
    overview.fold([record("decisions", each) for each in told])
    state = overview.changes(0, 0)
    shown = {view["version"]: view["status"] for view in state["versions"]}
    assert len(shown) == MAX_VERSIONS + 2
    assert (shown["v0"], shown["online"], shown["v149"]) == ("champion", "shadow", "rejected")
    assert overview.changes(state["revision"], 0)["versions"] == []
    overview.fold([record("decisions", msgspec.structs.replace(decision("shadow", version="v7"), seq=150))])
    assert overview.changes(state["revision"], 0)["versions"] == []  # too old to be shown
    overview.fold([record("decisions", msgspec.structs.replace(decision("shadow", version="v149"), seq=151))])
    assert [view["version"] for view in overview.changes(state["revision"], 0)["versions"]] == ["v149"]


def test_the_page_knows_the_switch_and_what_runs() -> None:
    overview = Overview(PIPELINE)
    assert overview.changes(0, 0)["retraining"]["run"] is None
    paused = msgspec.structs.replace(decision("paused"), run_id="", by="ann")
    overview.fold([record("decisions", decision("triggered", row=5)), record("decisions", paused)])
    retraining = overview.changes(0, 0)["retraining"]
    assert (retraining["enabled"], retraining["switch"]["paused"], retraining["switch"]["by"]) == (True, True, "ann")
    assert retraining["run"] == {"run_id": "run-1", "step": "triggered", "started_ms": 5000}
    assert [run["step"] for run in overview.changes(0, 0)["runs"]] == ["triggered"]
