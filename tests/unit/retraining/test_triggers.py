"""Every trigger that is seen gets a decision, also the one that starts nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from penstock.events import (
    Alert,
    Decision,
    Drift,
    Metrics,
    ModelRecord,
    OutcomeCommand,
    RetrainCommand,
    ScoreBlock,
    encode,
)
from penstock.runtime.stage import Input, Output
from penstock.spec import Numeric, Pipeline, RetrainingPolicy, Rollout
from penstock.testing.stage_conformance import check_stage
from retraining.service import Retrainer

LOOK = 100


class Bench:
    """A retrainer fed by hand: no data, no fits."""

    def __init__(self, rollout: Rollout | None = None, **policy: object) -> None:
        settings = {"collect_rows": 1000, "effect_rows": 200, "cooldown_rows": 400} | policy
        self.pipeline = Pipeline(
            name="p",
            task="binary",
            target="y",
            features=(Numeric("x"),),
            classes=("0", "1"),
            retraining=RetrainingPolicy(**settings),  # type: ignore[arg-type]
            rollout=rollout or Rollout(),
        )
        self.retrainer = Retrainer(self.pipeline)
        self.decisions: list[Decision] = []
        self.models: list[ModelRecord] = []
        self.alerts: list[Alert] = []
        self.heard: list[object] = []
        self.now = 0

    def give(self, topic: str, event: object) -> list[Decision]:
        self.heard.append(event)
        outputs = self.retrainer.process([Input(topic, 0, 0, 0, event)])  # type: ignore[arg-type]
        new = [output.event for output in outputs if isinstance(output.event, Decision)]
        self.decisions += new
        self.models += [output.event for output in outputs if isinstance(output.event, ModelRecord)]
        self.alerts += [output.event for output in outputs if isinstance(output.event, Alert)]
        return new

    def advance(self, until: int, losses: tuple[float, float] | None = None) -> None:
        """Up to ``until`` labelled rows; ``losses``: mean log loss of what is served, and of the online model."""
        for seen in range(self.now + LOOK, until + 1, LOOK):
            wobble = 0.02 if seen // LOOK % 2 else -0.02
            served, online = losses or (0.0, 0.0)
            blocks = {
                "champion": ScoreBlock(n=LOOK, log_loss=LOOK * (served + wobble)),
                "online": ScoreBlock(n=LOOK, log_loss=LOOK * online),
            }
            for stage in ("monitor", "learner"):
                metrics = Metrics(
                    stage=stage,
                    partition=0,
                    seen=seen,
                    record_id=str(seen - 1),
                    event_time_ms=seen - 1,
                    generation=self.retrainer.state.champion.generation,
                    offset=seen - 1,
                    blocks=blocks if losses and stage == "learner" else {},
                )
                self.give("metrics", metrics)
            self.now = seen

    def drift(self, identity: str, since: int, **changes: object) -> list[Decision]:
        event = Drift(
            id=identity,
            status="opened",
            kind="concept",
            level="critical",
            detector="adwin",
            statistic=0.2,
            effect=0.2,
            p_value=0.001,
            record_id=str(self.now),
            event_time_ms=self.now,
            generation=self.retrainer.state.champion.generation,
            seen=self.now,
            drift_score=0.5,
            since_event_time_ms=since,
        )
        return self.give("drift", msgspec.structs.replace(event, **changes))

    def outcome(self, **said: object) -> list[Decision]:
        run = self.retrainer.state.run
        assert run is not None
        return self.give("commands", OutcomeCommand(id="o", run_id=run.id, step="fit", at_ms=0, **said))  # type: ignore[arg-type]

    def passed(self) -> list[Decision]:
        model = ModelRecord(
            slot="challenger", version=f"v{self.retrainer.state.runs}", kind="batch", generation=0, uri="u"
        )
        return self.outcome(winner="forest", model=model)

    def steps(self) -> list[str]:
        return [decision.step for decision in self.decisions]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.advance(1000)
    return bench


def only(decisions: Sequence[Decision]) -> Decision:
    (decision,) = decisions
    return decision


def test_a_critical_drift_starts_a_run_from_the_drift_point(bench: Bench) -> None:
    decision = only(bench.drift("d1", since=750))
    assert decision.step == "triggered"
    assert decision.trigger == "drift:d1"
    assert decision.data is not None
    assert decision.data.offsets == {"0": (799, 1000)}
    assert decision.data.rows == 201
    bench.advance(1800)
    collected = bench.decisions[-1]
    assert (collected.step, collected.labelled) == ("collected", 1800)
    assert collected.data is not None
    assert collected.data.offsets == {"0": (799, 1800)}


def test_an_escalation_to_critical_starts_a_run(bench: Bench) -> None:
    assert bench.drift("d1", since=900, level="warning") == []
    assert only(bench.drift("d1", since=900, status="escalated")).step == "triggered"


@pytest.mark.parametrize("changes", [{"level": "warning"}, {"status": "closed"}])
def test_warnings_and_closings_are_no_triggers(bench: Bench, changes: dict[str, object]) -> None:
    assert bench.drift("d1", since=900, **changes) == []


def test_the_same_incident_is_decided_on_once(bench: Bench) -> None:
    assert len(bench.drift("d1", since=900)) == 1
    assert bench.drift("d1", since=950, status="escalated") == []


def test_switched_off_says_so_but_a_person_may_ask() -> None:
    bench = Bench(enabled=False)
    bench.advance(2000)
    decision = only(bench.drift("d1", since=900))
    assert decision.step == "not_started"
    assert "switched off" in decision.reason
    bench.advance(4000)
    assert bench.steps() == ["not_started"]
    assert bench.give("commands", RetrainCommand(id="c", by="ann", at_ms=0))[0].step == "triggered"


def test_a_newer_drift_restarts_the_collection(bench: Bench) -> None:
    run_id = bench.drift("d1", since=500)[0].run_id
    bench.advance(1300)
    again = only(bench.drift("d2", since=1150))
    assert (again.step, again.run_id) == ("triggered", run_id)
    bench.advance(2100)
    assert bench.steps() == ["triggered", "triggered"]
    bench.advance(2200)
    assert bench.decisions[-1].step == "collected"
    assert bench.decisions[-1].trigger == "drift:d2"
    assert bench.decisions[-1].data is not None
    assert bench.decisions[-1].data.offsets["0"][0] == 1199


def test_an_echo_of_the_same_drift_changes_nothing(bench: Bench) -> None:
    bench.drift("d1", since=800)
    echo = only(bench.drift("d2", since=600))
    assert echo.step == "not_started"
    assert "already has the data" in echo.reason
    bench.advance(1900)
    assert bench.steps() == ["triggered", "not_started", "collected"]


def test_a_restless_stream_gets_its_run_all_the_same(bench: Bench) -> None:
    for number in range(6):
        bench.drift(f"d{number}", since=bench.now)
        bench.advance(bench.now + 300)
    assert bench.steps()[:4] == ["triggered", "triggered", "triggered", "not_started"]
    assert "sent back 2 times" in bench.decisions[3].reason
    assert "collected" in bench.steps()


def test_a_drift_during_the_fit_starts_a_run_after_the_present_one(bench: Bench) -> None:
    bench.drift("d1", since=900)
    bench.advance(2000)
    waiting = only(bench.drift("d2", since=1700))
    assert waiting.step == "not_started"
    assert "starts after it" in waiting.reason
    bench.outcome(error="too little data")
    assert bench.steps()[-1] == "failed"
    bench.advance(2300)
    assert bench.steps()[-1] == "failed"  # still cooling down
    bench.advance(2400)
    started = bench.decisions[-1]
    assert (started.step, started.trigger) == ("triggered", "drift:d2")
    assert started.data is not None
    assert started.data.offsets == {"0": (1799, 2400)}
    assert started.data.rows == 601
    bench.advance(2800)
    assert bench.steps()[-1] == "collected"


def test_a_waiting_drift_survives_a_promotion(bench: Bench) -> None:
    bench.drift("d1", since=900)
    bench.advance(2000)
    bench.passed()
    bench.drift("d2", since=1900)
    bench.advance(2800)
    assert bench.steps() == [
        "triggered", "collected", "trained", "registered", "shadow", "not_started", "promoted", "triggered",
    ]  # fmt: skip
    assert bench.decisions[-1].generation == 1


def test_a_drift_while_cooling_down_waits(bench: Bench) -> None:
    bench.drift("d1", since=900)
    bench.advance(2000)
    bench.outcome(error="x")
    bench.advance(2200)
    decision = only(bench.drift("d2", since=2100))
    assert decision.step == "not_started"
    assert "starts at labelled row 2400" in decision.reason
    bench.advance(2400)
    assert bench.steps()[-1] == "triggered"


def test_a_drift_about_an_older_generation_starts_nothing(bench: Bench) -> None:
    bench.drift("d1", since=900)
    bench.advance(2000)
    bench.passed()
    bench.advance(3000)
    assert bench.steps()[-1] == "promoted"
    decision = only(bench.drift("d2", since=2900, generation=0))
    assert decision.step == "not_started"
    assert "no longer served" in decision.reason


def test_a_command_during_a_run_is_answered_and_a_repeat_is_not(bench: Bench) -> None:
    bench.drift("d1", since=900)
    command = RetrainCommand(id="c", by="ann", at_ms=0)
    assert "is going on (collecting)" in only(bench.give("commands", command)).reason
    assert bench.give("commands", command) == []


def test_a_command_on_a_young_stream_waits_for_enough_rows() -> None:
    bench = Bench()
    bench.advance(300)
    bench.give("commands", RetrainCommand(id="c", by="ann", at_ms=0))
    assert bench.steps() == ["triggered"]
    bench.advance(1100)
    assert bench.steps() == ["triggered", "collected"]


def test_the_online_model_wins_its_slot_back(bench: Bench) -> None:
    bench.drift("d1", since=900)
    bench.advance(2000)
    bench.passed()
    bench.advance(3000)
    bench.give("commands", RetrainCommand(id="c", by="ann", at_ms=0))
    bench.outcome(winner="online")
    bench.advance(3300)
    assert bench.steps()[-3:] == ["trained", "shadow", "promoted"]
    champion = bench.models[-1]
    assert (champion.slot, champion.version, champion.kind, champion.generation) == ("champion", "online", "online", 2)
    assert champion.predecessor is not None
    assert champion.predecessor.version == "v1"
    bench.advance(5600)
    assert bench.steps()[-1] == "settled"
    assert bench.models[-1].predecessor is None
    assert bench.models[-1].generation == 2


def test_each_end_is_told(bench: Bench) -> None:
    bench.drift("d1", since=900)
    bench.advance(2000)
    bench.outcome(error="leakage: x")
    assert [alert.severity for alert in bench.alerts] == ["info", "warning"]
    assert bench.alerts[-1].detail == "leakage: x"


def test_an_outcome_without_a_model_promotes_nothing(bench: Bench) -> None:
    bench.drift("d1", since=900)
    bench.advance(2000)
    assert [decision.step for decision in bench.outcome(winner="forest")] == ["trained", "rejected"]
    assert "names no artifact" in bench.decisions[-1].reason
    assert bench.models == []


def test_it_is_a_function_of_its_inputs() -> None:
    record: list[Input] = []
    bench = Bench()
    process = bench.retrainer.process

    def recorded(inputs: Sequence[Input]) -> list[Output]:
        record.extend(inputs)
        return process(inputs)

    bench.retrainer.process = recorded  # type: ignore[method-assign]
    bench.advance(1000)
    bench.drift("d1", since=700)
    bench.advance(2000)
    bench.passed()
    bench.drift("d2", since=1500)
    bench.advance(4500)
    written = check_stage(lambda: Retrainer(bench.pipeline), record)
    assert [value for topic, _, value in written if topic == "decisions"] == [encode(item) for item in bench.decisions]
    assert len(bench.decisions) > 6


@pytest.fixture
def promoted(bench: Bench) -> Bench:
    """A batch model is served."""
    bench.drift("d1", since=900)
    bench.advance(2000)
    bench.passed()
    bench.advance(2300)
    assert bench.retrainer.state.champion.version == "v1"
    bench.decisions.clear()
    return bench


def test_a_batch_model_that_the_online_model_outpaces_gets_a_run_without_any_alarm(promoted: Bench) -> None:
    promoted.advance(3400, losses=(0.5, 0.4))
    first = promoted.decisions[0]
    assert (first.step, first.trigger.partition(":")[0]) == ("triggered", "performance")
    assert "outpaces v1" in first.reason
    assert promoted.steps()[:2] == ["triggered", "collected"]
    data = promoted.decisions[1].data
    assert data is not None
    assert data.rows >= 1000


@pytest.mark.parametrize(
    "losses", [(0.4, 0.5), (0.41, 0.4), (0.401, 0.4)], ids=["it is better", "2 % worse", "within the noise"]
)
def test_a_batch_model_that_keeps_up_is_left_alone(promoted: Bench, losses: tuple[float, float]) -> None:
    promoted.advance(4000, losses=losses)
    assert "triggered" not in promoted.steps()


def test_few_looks_or_the_online_model_itself_start_nothing(promoted: Bench) -> None:
    promoted.advance(3000, losses=(0.5, 0.4))
    assert "triggered" not in promoted.steps()
    fresh = Bench()
    fresh.advance(3000, losses=(0.5, 0.4))
    assert fresh.decisions == []
