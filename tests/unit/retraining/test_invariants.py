"""Whatever comes in, in whatever order: what must hold of every history of retraining."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.events import (
    CancelCommand,
    Decision,
    Drift,
    DriftCondition,
    LossPair,
    Metrics,
    ModelRecord,
    OutcomeCommand,
    PauseCommand,
    RetrainCommand,
    ScoreBlock,
    TickCommand,
)
from penstock.runtime.stage import Input
from penstock.spec import DAY_MS, DriftPolicy, Numeric, Pipeline, RetrainingPolicy
from retraining.service import Retrainer
from retraining.states import SCORED, State, fold

HOUR_MS = 3_600_000
BUDGET = 2
PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    features=(Numeric("x"),),
    classes=("0", "1"),
    drift=DriftPolicy(quiet_looks=2),
    retraining=RetrainingPolicy(
        collect_rows=300,
        effect_rows=100,
        cooldown_rows=100,
        trial_rows=300,
        daily_runs=BUDGET,
        warnings=2,
        new_rows=900,
        warning_rows=400,
    ),
)

few = st.sampled_from("abc")
actions = st.one_of(
    st.tuples(st.just("rows"), st.integers(1, 6), st.sampled_from([50, 90])),
    st.tuples(st.just("drift"), few, st.sampled_from(["warning", "critical"]), st.sampled_from(["opened", "closed"])),
    st.tuples(st.just("condition"), st.sampled_from([0.1, 0.9])),
    st.tuples(st.just("tick"), few),
    st.tuples(st.just("pause"), few, st.booleans()),
    st.tuples(st.just("cancel"), few),
    st.tuples(st.just("retrain"), few),
    st.tuples(st.just("outcome"), st.booleans()),
)


class History:
    """Inputs as they come, made of actions: an outcome is about the run that is going on."""

    def __init__(self) -> None:
        self.retrainer = Retrainer(PIPELINE)
        self.inputs: list[Input] = []
        self.decisions: list[Decision] = []
        self.states = [State()]
        self._rows = self._serial = self._now_ms = 0

    def act(self, action: tuple[Any, ...]) -> None:
        for topic, event in self._events(action):
            given = Input(topic, 0, len(self.inputs), 0, event)
            self.inputs.append(given)
            self.decisions += decisions_of(self.retrainer, given)
            self.states.append(self.retrainer.state)

    def _events(self, action: tuple[Any, ...]) -> list[tuple[str, Any]]:
        kind, *rest = action
        self._serial += 1
        if kind == "rows":
            return [event for _ in range(rest[0]) for event in self._look(rest[1])]
        if kind == "condition":
            return [("metrics", self._condition(rest[0]))]
        if kind == "drift":
            return [("drift", self._drift(*rest))]
        by = {"by": "ann", "at_ms": 0}
        run = self.retrainer.state.run
        model = ModelRecord(slot="challenger", version=f"v{self._serial}", kind="batch", generation=0, uri="u")
        commands: dict[str, Any] = {
            "tick": lambda: TickCommand(id=f"t{rest[0]}{self._rows}", at_ms=0, schedule="0 2 * * 0"),
            "pause": lambda: PauseCommand(id=f"p{rest[0]}{self._rows}", paused=rest[1], **by),
            "cancel": lambda: CancelCommand(id=f"x{rest[0]}{self._rows}", **by),
            "retrain": lambda: RetrainCommand(id=f"r{rest[0]}{self._rows}", **by),
            "outcome": lambda: OutcomeCommand(
                id=f"o{self._serial}",
                run_id=run.id if run and run.phase == "fitting" else "none",
                step="fit",
                at_ms=0,
                **({"winner": "forest", "model": model} if rest[0] else {"error": "e"}),
            ),
        }
        return [("commands", commands[kind]())]

    def _look(self, correct: int) -> list[tuple[str, Any]]:
        self._rows += 100
        self._now_ms += HOUR_MS
        block = ScoreBlock(n=100, correct=correct)
        return [("metrics", self._metrics(stage, {"champion": block}, correct)) for stage in ("monitor", "learner")]

    def _pairs(self, correct: int) -> list[LossPair]:
        """What serves loses by its errors; the online model and a candidate lose 30 in between."""
        champion, run = self.retrainer.state.champion.version, self.retrainer.state.run
        others = {"online", run.version if run and run.phase in SCORED else "online"} - {champion}
        losses = [sorted([(champion, 100.0 - correct), (other, 30.0)]) for other in sorted(others)]
        return [
            LossPair(first=one, second=two, n=100, first_loss=lost, second_loss=other, difference_squared=9.0)
            for (one, lost), (two, other) in losses
        ]

    def _metrics(
        self, stage: str, blocks: dict[str, ScoreBlock], correct: int = 0, condition: DriftCondition | None = None
    ) -> Metrics:
        return Metrics(
            stage=stage,
            partition=0,
            seen=self._rows,
            record_id=str(self._rows),
            event_time_ms=self._now_ms,
            generation=self.retrainer.state.champion.generation,
            offset=self._rows + self._serial,
            blocks=blocks if stage == "learner" else {},
            pairs=self._pairs(correct) if stage == "learner" else [],
            condition=condition,
        )

    def _condition(self, score: float) -> Metrics:
        since = self._now_ms - DAY_MS if score > 0.7 else None
        condition = DriftCondition(drift_score=score, drifted_share=0.0, drift_score_since_ms=since)
        return self._metrics("incidents", {}, condition=condition)

    def _drift(self, name: str, level: Any, status: Any) -> Drift:
        return Drift(
            id=f"{name}{self._rows // 1000}",
            status=status,
            kind="concept",
            level=level,
            detector="adwin",
            statistic=0.2,
            effect=0.2,
            p_value=0.001,
            record_id=str(self._rows),
            event_time_ms=self._now_ms,
            generation=self.retrainer.state.champion.generation,
            seen=self._rows,
            drift_score=0.5,
        )


def decisions_of(retrainer: Retrainer, given: Input) -> list[Decision]:
    return [output.event for output in retrainer.process([given]) if isinstance(output.event, Decision)]


histories = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def played(actions: list[tuple[Any, ...]]) -> History:
    history = History()
    for action in actions:
        history.act(action)
    return history


@histories
@given(st.lists(actions, min_size=5, max_size=40), st.data())
def test_a_retrainer_that_starts_anywhere_goes_on_as_if_it_had_never_stopped(
    actions: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    history = played(actions)
    cut = data.draw(st.integers(0, len(history.inputs)))
    reborn, earlier = Retrainer(PIPELINE), history.states[cut].next_seq
    for decision in history.decisions[:earlier]:
        reborn.fold(decision)
    for item in history.inputs[:cut]:
        if isinstance(item.event, Metrics | Drift):
            reborn.observe(item.event)
    assert reborn.state == history.states[cut]
    later = [decision for item in history.inputs[cut:] for decision in decisions_of(reborn, item)]
    assert later == history.decisions[earlier:]


@histories
@given(st.lists(actions, min_size=5, max_size=40))
def test_a_repeat_of_any_input_changes_nothing(actions: list[tuple[Any, ...]]) -> None:
    history = played(actions)
    again, decisions = Retrainer(PIPELINE), []
    for item in history.inputs:
        decisions += decisions_of(again, item)
        state = again.state
        assert decisions_of(again, item) == []
        assert again.state == state
    assert decisions == history.decisions
    assert [decision for item in history.inputs for decision in decisions_of(again, item)] == []


@histories
@given(st.lists(actions, min_size=5, max_size=40))
def test_one_run_at_a_time_within_the_budget_and_an_answer_to_everybody(actions: list[tuple[Any, ...]]) -> None:
    history = played(actions)
    state, starts, told = State(), [], set()
    for decision in history.decisions:
        if decision.step == "triggered" and state.run is None:
            starts.append(decision.event_time_ms)
            assert state.paused is None or decision.trigger.startswith("command:")
        elif decision.step == "triggered":
            assert decision.run_id == state.run.id, "a run of another id while one is going on"  # type: ignore[union-attr]
        if decision.step == "not_started":
            assert (decision.trigger, decision.reason) not in told, "told twice"
            told.add((decision.trigger, decision.reason))
        state = fold(state, decision)
    for index, start_ms in enumerate(starts[BUDGET:]):
        assert start_ms - starts[index] >= DAY_MS
    answered = {decision.trigger: decision for decision in history.decisions}
    for item in history.inputs:
        match item.event:
            case TickCommand(id=identity):
                assert f"tick:{identity}" in answered
            case RetrainCommand(id=identity) | PauseCommand(id=identity) | CancelCommand(id=identity):
                assert answered[f"command:{identity}"].trigger in history.retrainer.state.seen
                first = next(each for each in history.decisions if each.trigger == f"command:{identity}")
                assert first.by == "ann"
