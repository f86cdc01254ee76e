"""Each command has exactly one decision that names it, in whatever order commands, repeats and data come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.events import (
    AccessCommand,
    ApprovalCommand,
    CancelCommand,
    CandidateResult,
    Command,
    Decision,
    Drift,
    ExperimentCommand,
    HealthCommand,
    Metrics,
    ModelRecord,
    OutcomeCommand,
    PauseCommand,
    PolicyCommand,
    PromoteCommand,
    RetrainCommand,
    RollbackCommand,
    TickCommand,
)
from penstock.runtime.stage import Input
from penstock.spec import Numeric, Pipeline, RetrainingPolicy
from retraining.audit import said
from retraining.service import Retrainer
from retraining.states import ANSWERED, State, chained, fold, verify_chain

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    features=(Numeric("x"),),
    classes=("0", "1"),
    retraining=RetrainingPolicy(collect_rows=200, trial_rows=200, effect_rows=100, cooldown_rows=100),
)
VERSIONS = st.sampled_from(["", "online", "v1", "v2", "v9"])
WHO = {"by": "ada", "at_ms": 5}
RUNS = st.sampled_from(["", "p-1", "nobody"])


def make(kind: str, number: int, version: str, run_id: str, yes: bool) -> Any:
    """A command of ``kind``; a run id of ``p-1`` stands for that of the run that is going on."""
    identity = f"{kind}-{number}"
    match kind:
        case "retrain":
            return RetrainCommand(id=identity, **WHO)
        case "rollback":
            return RollbackCommand(id=identity, version=version, **WHO)
        case "promote":
            return PromoteCommand(id=identity, version=version, **WHO)
        case "approval":
            return ApprovalCommand(id=identity, version=version, approved=yes, **WHO)
        case "experiment":
            return ExperimentCommand(id=identity, version=version, share=0.1 if yes else 0.0, **WHO)
        case "cancel":
            return CancelCommand(id=identity, run_id=run_id, **WHO)
        case "pause":
            return PauseCommand(id=identity, paused=yes, **WHO)
        case "tick":
            return TickCommand(id=identity, at_ms=number, schedule="0 2 * * 0")
        case "health":
            check = {"generation": number % 3, "check": "errors", "value": 0.2, "limit": 0.1}
            return HealthCommand(id=identity, version=version, **check, **WHO)
        case "access":
            return AccessCommand(id=identity, role="admin", method="POST", path="/x", status=202, **WHO)
        case "policy":
            return PolicyCommand(id=identity, change="effect_floor = 0.2", **WHO)
    model = ModelRecord(slot="challenger", version="v1", kind="batch", generation=0, uri="u", run_id=run_id)
    said: dict[str, Any] = {"winner": "forest", "model": model} if yes else {"error": "no data"}
    return OutcomeCommand(id=identity, run_id=run_id, step="fit", at_ms=5, candidates=[], **said)


KINDS = [command.__struct_config__.tag for command in Command.__args__]
COMMANDS = st.builds(make, st.sampled_from(KINDS), st.integers(0, 3), VERSIONS, RUNS, st.booleans())
LOOKS = st.integers(1, 3).map(lambda looks: looks * 100)
INCIDENTS = st.integers(0, 3).map(lambda number: f"d{number}")


class Bench:
    """A retrainer fed by hand."""

    def __init__(self) -> None:
        self.retrainer = Retrainer(PIPELINE)
        self.decisions: list[Decision] = []
        self.seen = 0

    def give(self, topic: str, event: Any) -> None:
        outputs = self.retrainer.process([Input(topic, 0, 0, 0, event)])
        self.decisions += [output.event for output in outputs if isinstance(output.event, Decision)]

    def look(self, rows: int) -> None:
        self.seen += rows
        for stage in ("monitor", "learner"):
            known = {"partition": 0, "seen": self.seen, "record_id": "r", "event_time_ms": self.seen, "generation": 0}
            self.give("metrics", Metrics(stage=stage, offset=self.seen - 1, **known))

    def drift(self, identity: str) -> None:
        known = {"statistic": 0.2, "effect": 0.2, "p_value": 0.01, "record_id": "r", "event_time_ms": self.seen}
        known |= {"id": identity, "kind": "concept", "detector": "adwin", "generation": 99, "seen": self.seen}
        self.give("drift", Drift(status="opened", level="critical", drift_score=0.5, **known))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(COMMANDS, LOOKS, INCIDENTS), max_size=25))
def test_each_command_has_exactly_one_decision_that_names_it(moves: list[Any]) -> None:
    bench, given_ = Bench(), set()
    bench.look(300)
    for move in moves:
        if isinstance(move, int):
            bench.look(move)
        elif isinstance(move, str):
            bench.drift(move)
        else:
            run = bench.retrainer.state.run
            if getattr(move, "run_id", "") == "p-1" and run is not None:
                move = type(move)(**{**{f: getattr(move, f) for f in move.__struct_fields__}, "run_id": run.id})
            if isinstance(move, OutcomeCommand):  # named by its run, as the runner of effects does
                move = OutcomeCommand(id=f"{move.run_id}-fit", run_id=move.run_id, step="fit", at_ms=5, error="none")
            bench.give("commands", move)
            given_.add(move.id)
    named = [decision.command for decision in bench.decisions if decision.command]
    assert sorted(named) == sorted(given_)
    assert verify_chain(bench.decisions) == len(bench.decisions)


def test_no_kind_of_command_is_left_out() -> None:
    assert {type(make(kind, 0, "", "", False)) for kind in KINDS} == set(Command.__args__)
    assert all(said(make(kind, 0, "v1", "r", True)) for kind in KINDS)


def test_a_call_of_the_api_is_recorded_with_who_and_what() -> None:
    bench = Bench()
    access = AccessCommand(id="a1", by="ada", role="admin", at_ms=5, method="POST", path="/api/v1/x", status=202)
    bench.give("commands", access)
    bench.give("commands", access)
    (decision,) = bench.decisions
    assert (decision.step, decision.command, decision.by, decision.trigger) == ("recorded", "a1", "ada", "command:a1")
    assert decision.reason == "ada (admin) called POST /api/v1/x: 202"


def test_an_outcome_that_nobody_waits_for_is_recorded() -> None:
    bench = Bench()
    late = OutcomeCommand(id="p-7-fit", run_id="p-7", step="fit", at_ms=5, candidates=[CandidateResult(name="forest")])
    bench.give("commands", late)
    assert [(d.step, d.command, d.run_id) for d in bench.decisions] == [("recorded", "p-7-fit", "p-7")]


def test_the_commands_that_are_remembered_are_bounded() -> None:
    state = State()
    for number in range(ANSWERED + 5):
        draft = Decision(
            seq=0,
            run_id="",
            step="recorded",
            event_time_ms=0,
            record_id="",
            trigger="",
            reason="",
            generation=0,
            command=f"c{number}",
        )
        state = fold(state, chained(state, draft))
    assert len(state.answered) == ANSWERED
    assert state.answered[-1] == f"c{ANSWERED + 4}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_of_any_kind_gets_its_decision_also_when_nothing_goes_on(kind: str) -> None:
    bench = Bench()
    bench.give("commands", make(kind, 1, "v1", "", False))
    assert [decision.command for decision in bench.decisions if decision.command] == [f"{kind}-1"]
