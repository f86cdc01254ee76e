from dataclasses import replace
from typing import Any

import pytest

from penstock.events import Drift, DriftCondition, Metrics, ModelRecord, ScoreBlock
from penstock.spec import RetrainingPolicy
from penstock.topology import DAY_MS
from serving.condition import Condition
from serving.history import History
from serving.verdict import TriggerView, Verdict, check_retrain
from tests.unit.serving.stand import PIPELINE
from tests.unit.serving.test_history import decided

HOUR_MS = 3_600_000


def metrics(stage: str, seen: int, **about: Any) -> Metrics:
    return Metrics(
        stage=stage,
        partition=0,
        seen=seen,
        record_id="r",
        event_time_ms=seen * 1000,
        generation=0,
        offset=seen,
        **about,
    )


def drift(identity: str, level: Any, row: int) -> Drift:
    return Drift(
        id=identity,
        status="opened",
        kind="covariate",
        level=level,
        detector="ks",
        statistic=0.3,
        effect=0.3,
        p_value=1e-6,
        record_id="r",
        event_time_ms=row * 1000,
        generation=0,
        seen=row,
        drift_score=0.3,
    )


def asked(
    *events: Drift | Metrics, history: History | None = None, now_ms: int = 0, labelled: int = 5000, **policy: Any
) -> Verdict:
    pipeline = replace(PIPELINE, retraining=RetrainingPolicy(**policy))
    condition = Condition(pipeline)
    for event in (*events, metrics("learner", labelled)):
        condition.take(event, 0)
    return check_retrain(pipeline, history or History(), condition, now_ms)


def of(verdict: Verdict, name: str) -> TriggerView:
    return next(trigger for trigger in verdict.triggers if trigger.name == name)


def ended(step: str = "rejected", labelled: int = 4900) -> History:
    history = History()
    history.take(decided("triggered", 0, labelled=4000), 7)
    history.take(decided(step, 1, labelled=labelled), 8)
    return history


def test_nothing_is_in_the_way_and_nothing_is_reached() -> None:
    verdict = asked()
    assert (verdict.would_start, verdict.person_would_start, verdict.blockers) == (False, True, [])
    assert verdict.why == "nothing is in the way, and no trigger has been reached"


def test_a_critical_incident_counts_until_it_was_decided_on() -> None:
    verdict = asked(drift("d7", "critical", 10))
    assert (verdict.would_start, verdict.why) == (True, "critical_drift: reached")
    history = History()
    history.take(decided("not_started", 0, run_id="", trigger="drift:d7"), 0)
    assert not asked(drift("d7", "critical", 10), history=history).would_start
    assert not of(asked(drift("d7", "critical", 10), critical=False), "critical_drift").enabled


def test_warnings_count_within_their_window_and_since_the_last_run() -> None:
    three = [drift(f"w{row}", "warning", row) for row in (10, 20, 30)]
    assert of(asked(*three), "warnings").reached
    assert of(asked(*three, warnings_window_ms=4_975_000), "warnings").value == 1
    history = History()
    history.take(decided("triggered", 15), 0)
    assert of(asked(*three, history=history), "warnings").value == 2
    assert not of(asked(*three, warnings=None), "warnings").reached


def test_a_warning_lasts_since_it_opened_and_since_the_last_run() -> None:
    lasting = (metrics("learner", 1000), drift("w", "warning", 990))
    assert (of(asked(*lasting), "warning_rows").value, of(asked(*lasting), "warning_rows").reached) == (4000, True)
    assert not of(asked(*lasting, labelled=2900), "warning_rows").reached
    assert of(asked(*lasting, history=ended()), "warning_rows").value == 1000
    history = History()
    history.take(decided("triggered", 0, trigger="warning:w"), 0)
    assert of(asked(*lasting, history=history), "warning_rows").value == 0
    assert not of(asked(*lasting, warning_rows=None), "warning_rows").enabled


def test_a_drop_of_performance_is_tested_as_the_retrainer_does() -> None:
    def look(at: int, correct: int) -> Metrics:
        return metrics("learner", 100 * at, blocks={"champion": ScoreBlock(n=100, correct=correct)})

    good, bad = [look(at, 90) for at in range(1, 31)], [look(at, 60) for at in range(31, 37)]
    assert not of(asked(*good), "performance_drop").reached
    fell = of(asked(*good, *bad), "performance_drop")
    assert fell.reached
    assert fell.value == pytest.approx(0.3, abs=0.05)
    assert fell.detail.startswith("accuracy 0.6")
    history = History()
    model = ModelRecord(slot="champion", version="v1", kind="batch", generation=1)
    history.take(decided("promoted", 0, generation=1, version="v1", model=model), 0)
    assert not of(asked(*good, *bad, history=history), "performance_drop").reached


def test_the_schedule_says_when_it_is_next_due() -> None:
    assert of(asked(now_ms=0), "schedule").detail == "cron, UTC: 0 2 * * 0; next due 1970-01-04T02:00:00Z"


@pytest.mark.parametrize(("since_ms", "reached"), [(5_000_000 - DAY_MS, True), (5_000_000 - HOUR_MS, False)])
def test_a_drift_score_has_to_last(since_ms: int, reached: bool) -> None:
    inputs = DriftCondition(drift_score=0.9, drifted_share=0.1, drift_score_since_ms=since_ms)
    trigger = of(asked(metrics("incidents", 1, condition=inputs)), "drift_score")
    assert (trigger.value, trigger.reached) == (0.9, reached)


def test_a_share_of_the_features_and_new_rows_and_time() -> None:
    inputs = DriftCondition(drift_score=0.1, drifted_share=0.5, drifted_share_since_ms=3)
    assert of(asked(metrics("incidents", 1, condition=inputs)), "drifted_share").reached
    history = ended()
    assert of(asked(history=history, new_rows=1000), "new_rows").reached
    assert not of(asked(history=history, new_rows=1001), "new_rows").reached
    assert of(asked(history=history, at_latest_ms=93, now_ms=100), "at_latest_ms").reached
    assert of(asked(history=history, at_latest_ms=94, now_ms=100), "at_latest_ms").value == 93


@pytest.mark.parametrize(
    ("name", "person_too"), [("run", True), ("policy", False), ("pause", False), ("cooldown", False), ("budget", True)]
)
def test_what_is_in_the_way_is_named(name: str, person_too: bool) -> None:
    history, policy = History(), {}
    if name == "run":
        history.take(decided("triggered", 0), 0)
    elif name == "policy":
        policy = {"enabled": False}
    elif name == "pause":
        history.take(decided("paused", 0, run_id="", by="ann", trigger="command:c"), 0)
    elif name == "cooldown":
        history = ended()
    else:
        history, policy = ended(labelled=1000), {"daily_runs": 1}
    verdict = asked(drift("d7", "critical", 10), history=history, **policy)
    assert [blocker.name for blocker in verdict.blockers] == [name]
    assert (verdict.would_start, verdict.person_would_start) == (False, not person_too)
    assert verdict.why == f"critical_drift would start a run, but {verdict.blockers[0].detail}"
