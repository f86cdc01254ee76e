"""From a drift event to a promoted model, over real fits; and every way in which that may be interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from penstock.errors import RegistryError
from penstock.events import (
    Alert,
    ApprovalCommand,
    CancelCommand,
    ExperimentCommand,
    OutcomeCommand,
    PromoteCommand,
    RetrainCommand,
    RollbackCommand,
    encode,
)
from penstock.log.port import Message
from penstock.models.registry import Registration
from penstock.spec import Gates, Rollout
from retraining.states import verify_chain

PROMOTION = ["triggered", "collected", "trained", "registered", "shadow", "promoted"]


def drifted(world: Any) -> Any:
    world.advance(2300)
    world.drift(since_row=2000)
    return world


@pytest.fixture(scope="module")
def promoted(new_world: Callable[..., Any]) -> Any:
    world = drifted(new_world())
    world.advance(6900)
    return world


def test_a_drift_ends_in_a_promotion(promoted: Any) -> None:
    decisions = promoted.decisions()
    assert promoted.steps() == [*PROMOTION, "settled"]
    assert len({decision.run_id for decision in decisions}) == 1
    assert verify_chain(decisions) == 7
    collected = decisions[1]
    assert collected.data is not None
    start, stop = collected.data.offsets["0"]
    assert 2000 <= start < 2100
    assert collected.data.rows == stop - start >= 1500
    assert decisions[5].rows - decisions[4].rows >= 500
    assert decisions[5].generation == 1
    assert decisions[6].labelled - decisions[5].labelled >= 2100


def test_models_records_follow_the_decisions(promoted: Any) -> None:
    challenger, champion, cleared, settled = promoted.models()
    assert (challenger.slot, challenger.version, challenger.generation) == ("challenger", "v1", 0)
    assert (champion.slot, champion.version, champion.kind, champion.generation) == ("champion", "v1", "batch", 1)
    assert champion.predecessor is not None
    assert champion.predecessor.version == "online"
    assert (cleared.slot, cleared.version) == ("challenger", "")
    assert (settled.slot, settled.version, settled.generation, settled.predecessor) == ("champion", "v1", 1, None)


def test_the_promoted_model_is_better_than_its_predecessor_on_rows_after_it(promoted: Any) -> None:
    served = promoted.rows[4600:6600]
    model = promoted.serving.serving.champion.model
    scores = np.array(model.score_many([row.features for row in served]), dtype=float)
    happened = np.array([row.outcome == "1" for row in served])
    online = np.array([row.online for row in served])

    def accuracy(chance: np.ndarray) -> float:
        return float(((chance >= 0.5) == happened).mean())

    assert accuracy(scores) > 0.9
    assert accuracy(scores) > accuracy(online) + 0.05


def test_the_registry_knows_where_the_version_came_from(promoted: Any) -> None:
    version = promoted.registry.show("v1")
    assert version.aliases == ("champion",)
    assert version.lineage["trigger"] == "drift:d1"
    assert version.lineage["decision"] == promoted.decisions()[1].hash
    assert version.lineage["parent_version"] == "online"
    assert version.artifact.digest == promoted.models()[0].digest


def test_each_gate_is_in_the_evidence(promoted: Any) -> None:
    trained = promoted.decisions()[2]
    assert [(gate.name, gate.passed) for gate in trained.gates] == [
        ("improvement_over_online", True),
        ("explanation_drift", None),
        ("probe_rows", True),
        ("p99_ms", None),
        ("artifact_bytes", True),
        ("artifact_intact", True),
    ]
    assert trained.gates[3].detail == "not measured: virtual time"
    assert {result.name for result in trained.candidates} == {
        "online",
        "logistic_regression",
        "gradient_boosting",
        "random_forest",
    }


def test_the_same_history_gives_the_same_chain(promoted: Any, new_world: Callable[..., Any]) -> None:
    again = drifted(new_world())
    again.advance(6900)
    assert again.decisions() == promoted.decisions()
    assert again.models() == promoted.models()


def test_a_kill_at_every_transition_changes_nothing(promoted: Any, new_world: Callable[..., Any]) -> None:
    world = new_world()
    killed: list[str] = []

    def kill(world: Any) -> None:
        killed.append(world.steps()[-1] if world.steps() else "")
        world.reborn()
        world.runner.close()
        world.runner = world.new_runner()

    world.after_each = kill
    drifted(world).advance(6900)
    assert world.decisions() == promoted.decisions()
    assert world.models() == promoted.models()
    assert set(killed) == {"triggered", "collected", "shadow", "promoted", "settled"}
    assert [held.version for held in world.registry.versions()] == ["v1"]
    assert world.registry.show("v1").aliases == ("champion",)
    assert sum(isinstance(command, OutcomeCommand) for command in world.commands()) == 1


#: A run with every phase, then an experiment, and a run that a person ends.
STORY = Rollout(canary_share=0.3, canary_rows=300, approval=True, experiment_rows=300)


def told(world: Any) -> Any:
    """A story with a canary, an approval, an experiment and a run that is cancelled."""
    drifted(world).advance(5000)
    world.command(ApprovalCommand(id="a", by="ann", at_ms=0, version="v1", approved=True))
    world.advance(5300)
    world.command(ExperimentCommand(id="e", by="ann", at_ms=0, version="online", share=0.5))
    world.advance(6300)
    world.command(PromoteCommand(id="p", by="ann", at_ms=0, version="online"))
    world.command(RollbackCommand(id="b", by="ann", at_ms=0))
    world.command(RetrainCommand(id="r", by="ann", at_ms=0))
    world.command(CancelCommand(id="c", by="ann", at_ms=0))
    world.advance(6500)
    return world


@pytest.fixture(scope="module")
def whole_story(new_world: Callable[..., Any]) -> Any:
    return told(new_world(rollout=STORY))


def test_a_story_of_canary_approval_experiment_and_cancel(whole_story: Any) -> None:
    steps = whole_story.steps()
    assert steps[:10] == [*PROMOTION[:5], "canary", "awaiting_approval", "approved", "promoted", "recorded"]
    assert steps[10:12] == ["canary", "rejected"]  # the experiment: the online model is no better
    assert steps[12:16] == ["recorded", "promoted", "recorded", "rolled_back"]
    assert steps[16] == "triggered"
    assert "cancelled" in steps[17:]
    assert verify_chain(whole_story.decisions()) == len(steps)
    named = [decision.by for decision in whole_story.decisions() if decision.trigger.startswith("command:")]
    assert set(named) <= {"ann", ""}
    assert whole_story.serving.serving.champion.version == "v1"
    assert whole_story.serving.serving.canary is None


def test_a_kill_at_every_transition_of_the_story_changes_nothing(
    whole_story: Any, new_world: Callable[..., Any]
) -> None:
    world = new_world(rollout=STORY)
    killed: list[str] = []

    def kill(world: Any) -> None:
        killed.append(world.steps()[-1] if world.steps() else "")
        world.reborn()
        world.runner.close()
        world.checker.close()
        world.runner, world.checker = world.new_runner(), world.new_checker()

    world.after_each = kill
    told(world)
    assert world.decisions() == whole_story.decisions()
    assert world.models() == whole_story.models()
    assert set(killed) >= {
        "triggered", "collected", "shadow", "canary", "awaiting_approval", "promoted", "recorded", "rejected",
        "rolled_back", "cancelled",
    }  # fmt: skip
    assert [held.version for held in world.registry.versions()] == ["v1"]
    outcomes = [command.id for command in world.commands() if isinstance(command, OutcomeCommand)]
    assert len(outcomes) == len(set(outcomes))


def test_no_promotion_where_nothing_changed(new_world: Callable[..., Any]) -> None:
    world = new_world(((1, 5000),))
    world.advance(1700)
    # The served scores are those of a model that knows the concept: there is nothing to gain.
    good = world.rows
    world.rows = tuple(type(row)(row.features, row.outcome, 0.97 if row.outcome == "1" else 0.03) for row in good)
    world.advance(2300)
    world.drift(since_row=2000)
    world.advance(4500)
    assert world.steps() == ["triggered", "collected", "trained", "rejected"]
    rejected = world.decisions()[-1]
    assert "log loss" in rejected.reason
    assert rejected.version == ""
    assert world.decisions()[-2].reason.startswith("best: random_forest; fitted on ")
    assert [gate.passed for gate in rejected.gates] == [False]
    assert world.models() == []
    assert world.registry.versions() == []


def test_a_crash_after_registering_and_before_the_outcome_registers_once(new_world: Callable[..., Any]) -> None:
    world = drifted(new_world())
    appended = world.log.append

    class Killed(BaseException):
        pass

    def dies(messages: list[Message]) -> list[int]:
        if messages[0].topic == "commands":
            raise Killed
        return appended(messages)

    world.log.append = dies  # type: ignore[method-assign]
    with pytest.raises(Killed):
        world.advance(4000)
    world.log.append = appended  # type: ignore[method-assign]
    (first,) = world.registry.versions()
    world.position = int(world.metrics[-1].record_id) + 51
    world.reborn()
    world.runner = world.new_runner()
    world.work()
    world.advance(4600)
    assert world.steps() == PROMOTION
    (only,) = world.registry.versions()
    assert only.artifact == first.artifact
    assert only.version == first.version == "v1"


def test_a_registry_that_is_away_delays_the_outcome_and_loses_nothing(new_world: Callable[..., Any]) -> None:
    world = drifted(new_world())
    register, calls = world.registry.register, []

    def away(registration: Registration):  # type: ignore[no-untyped-def]
        calls.append(registration.run_id)
        if len(calls) < 3:
            raise RegistryError("model registry: connection refused")
        return register(registration)

    world.registry.register = away  # type: ignore[method-assign]
    world.advance(4000)
    assert world.steps() == ["triggered", "collected"]
    assert world.runner.busy
    assert len(calls) == 1  # virtual time stood still: no retry before its time
    run_id = world.decisions()[0].run_id
    for _ in range(3):
        world.clock.advance_s(5.0)
        world.work()
    assert world.steps() == PROMOTION[:5]
    assert len(calls) == 3
    alerts = [msgspec.json.decode(value, type=Alert) for value in world._values("alerts")]
    (alert,) = (each for each in alerts if each.id == f"{run_id}-waits")
    assert alert.title == f"the registration of run {run_id} waits for the model registry"
    assert "connection refused" in alert.detail


def test_the_first_outcome_wins(new_world: Callable[..., Any]) -> None:
    world = drifted(new_world())
    world.advance(4000)
    before = world.steps()
    run_id = world.decisions()[0].run_id
    second = OutcomeCommand(id="x", run_id=run_id, step="fit", at_ms=0, error="another runner failed")
    world.give("commands", second)
    assert world.steps() == [*before, "recorded"]
    assert world.give("commands", second) == []


def test_missing_examples_end_the_run_with_the_reason(new_world: Callable[..., Any]) -> None:
    world = drifted(new_world())
    read = world.log.read

    def leaky(partition, start, stop, most):  # type: ignore[no-untyped-def]
        return [] if partition.topic == "examples" else read(partition, start, stop, most)

    world.log.read = leaky  # type: ignore[method-assign]
    world.advance(4000)
    failed = world.decisions()[-1]
    assert failed.step == "failed"
    assert "too little data: 0 labelled rows" in failed.reason


def test_a_person_gets_a_run_from_the_newest_rows_at_once(new_world: Callable[..., Any]) -> None:
    world = new_world()
    world.advance(4000)
    command = RetrainCommand(id="c1", by="ann", at_ms=0, reason="trial")
    world.log.append([Message("commands", b"c1", encode(command))])
    world.work()
    decisions = world.decisions()
    assert world.steps()[:2] == ["triggered", "collected"]
    assert decisions[0].trigger == "command:c1"
    assert "ann: trial" in decisions[0].reason
    assert decisions[1].data is not None
    assert 1500 <= decisions[1].data.rows <= 1600


@pytest.mark.parametrize(
    ("gates", "refused", "said"),
    [
        (Gates(max_artifact_bytes=2000), "artifact_bytes", "at most 2000 wanted"),
        (Gates(min_accuracy=0.999), "min_accuracy", "above 0.999 wanted"),
    ],
)
def test_a_good_candidate_that_misses_another_gate_is_refused(
    gates: Gates, refused: str, said: str, new_world: Callable[..., Any]
) -> None:
    world = drifted(new_world(gates=gates))
    world.advance(4000)
    rejected = world.decisions()[-1]
    assert rejected.step == "rejected"
    assert [gate.name for gate in rejected.gates] == [refused]
    assert said in rejected.reason
    assert world.registry.versions() == []
    assert world.models() == []


def test_a_tampered_artifact_is_never_served(new_world: Callable[..., Any]) -> None:
    world = new_world()
    refused: list[str] = []
    world.serving._on_refused = lambda record, why: refused.append(f"{record.slot}: {why}")
    world.serving._load = lambda *_: pytest.fail("bytes that nobody signed were loaded")

    def tamper(of: Any) -> None:
        of.artifacts._held = {name: data + b"x" for name, data in of.artifacts._held.items()}

    world.after_each = tamper
    drifted(world).advance(4600)
    assert world.serving.serving.champion.version == "online"
    assert refused[0].startswith("challenger: ")
    assert "the bytes are not those that were announced" in refused[0]
