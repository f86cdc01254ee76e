"""The runner of effects alone: what is to do, how it is repeated, and what the registry shows in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from online import snapshot
from online.committee import Committee
from penstock.clock import VirtualClock
from penstock.errors import LogUnavailableError
from penstock.events import DataRange, Decision, ModelRecord, OutcomeCommand, encode
from penstock.log.port import Message, TopicPartition
from penstock.models.registry import MlflowRegistry
from retraining.effects import EffectRunner, pending
from retraining.start import started_retrainer
from retraining.states import State, chained, fold


def collecting(world: Any) -> Any:
    world.advance(2300)
    world.drift(since_row=2000)
    return world


def test_a_fit_is_pending_from_collected_to_its_outcome(new_world: Callable[..., Any]) -> None:
    world = collecting(new_world())
    assert pending(world.decisions(), world.commands()) is None
    world.runner.step = lambda: False
    world.advance(4000)
    work = pending(world.decisions(), world.commands())
    assert work is not None
    assert work.decision.step == "collected"
    outcome = OutcomeCommand(id="x", run_id=work.decision.run_id, step="fit", at_ms=0)
    assert pending(world.decisions(), [outcome]) is None


def test_a_thread_does_the_work(new_world: Callable[..., Any]) -> None:
    world = collecting(new_world())
    runner, world.runner.step = world.new_runner(), lambda: False
    world.advance(4000)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            runner.step(wait_s=0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not world.commands() and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
        runner.close()
    (outcome,) = world.commands()
    assert outcome.model.version == "v1"
    assert outcome.error == ""


def test_the_same_work_gives_the_same_outcome(new_world: Callable[..., Any]) -> None:
    world = collecting(new_world())
    world.runner.step = lambda: False
    world.advance(4000)
    work = pending(world.decisions(), world.commands())
    assert world.new_runner().run(work) == world.new_runner().run(work)
    assert len(world.registry.versions()) == 1


def publish(world: Any, data: bytes, offset: int) -> None:
    """A snapshot of the online model, and its record."""
    ref = world.artifacts.put(data)
    record = ModelRecord(
        slot="online-0", version="online", kind="online", generation=0, snapshot=offset + 1, offset=offset,
        uri=ref.uri, digest=ref.digest, signature=ref.signature,
    )  # fmt: skip
    world.log.append([Message("models", b"online-0", encode(record))])


def test_a_search_that_had_another_time_makes_again_what_was_registered(new_world: Callable[..., Any]) -> None:
    world = collecting(new_world())
    world.runner.step = lambda: False
    world.advance(4000)
    work = pending(world.decisions(), world.commands())
    committee = Committee(world.pipeline)
    for row in world.rows[:50]:
        committee.learn_one(row.features, row.outcome)
    publish(world, snapshot.dump(committee), offset=49)
    longer = replace(world.pipeline, retraining=replace(world.pipeline.retraining, trials=9))
    first, cut_off = (
        EffectRunner(pipeline, world.log, world.artifacts, world.registry, world.clock).run(work)
        for pipeline in (longer, world.pipeline)
    )
    assert cut_off.model == first.model
    assert "online_copy" in [candidate.name for candidate in cut_off.candidates]
    assert msgspec.json.decode(first.lineage["candidates"])["gradient_boosting"]["trials"] > 1
    (version,) = world.registry.versions()
    assert version.artifact.digest == first.model.digest


def test_mlflow_holds_version_alias_and_lineage(new_world: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    world = new_world()
    world.registry = MlflowRegistry(f"sqlite:///{tmp_path}/registry.db", (tmp_path / "mlruns").as_uri(), "loans")
    world.runner = world.new_runner()
    collecting(world).advance(4600)
    assert world.steps()[-1] == "promoted"
    (version,) = world.registry.versions()
    assert version.aliases == ("champion",)
    assert version.run_id == world.decisions()[0].run_id
    assert version.lineage["data_range"] == msgspec.json.encode(world.decisions()[1].data).decode()
    assert version.metrics["gradient_boosting.log_loss"] < version.metrics["online.log_loss"]
    held = world.artifacts.get(*version.artifact[:3])
    assert len(held) == version.artifact.size_bytes


def test_the_one_before_the_predecessor_is_archived(new_world: Callable[..., Any]) -> None:
    world = new_world()
    state = State()
    for number in range(1, 4):
        world.registry.register(registration(number))
        record = ModelRecord(slot="champion", version=f"v{number}", kind="batch", generation=number)
        for step in ("triggered", "collected", "trained", "registered", "shadow", "promoted"):
            draft = Decision(
                seq=0, run_id=f"r{number}", step=step, event_time_ms=0, record_id="", trigger=f"command:{number}",
                reason="", generation=number, version=f"v{number}", model=record, data=DataRange(offsets={"0": (0, 1)}),
            )  # fmt: skip
            decision = chained(state, draft)
            state = fold(state, decision)
            world.log.append([Message("decisions", b"r", encode(decision))])
    while world.runner.step():
        pass
    held = {version.version: (version.aliases, version.archived) for version in world.registry.versions()}
    assert held == {"v1": ((), True), "v2": ((), False), "v3": (("champion",), False)}


def registration(number: int) -> Any:
    from penstock.models.artifact import ArtifactRef
    from penstock.models.registry import Registration

    return Registration(f"r{number}", f"v{number}", ArtifactRef("u", "d", "s", 1), {}, {}, {})


def test_the_online_model_takes_the_slot_of_a_stale_champion(new_world: Callable[..., Any]) -> None:
    """After a change to a concept that the online model knows and no small batch of rows improves on, it wins."""
    world = new_world(((1, 2000), (4, 4600), (1, 4000)), rollback=False)
    collecting(world).advance(4600)
    assert world.serving.serving.champion.version == "v1"
    # From here on the online model answers what a model that has learned the concept well would answer.
    world.rows = tuple(
        msgspec.structs.replace(row, online=0.985 if row.outcome == "1" else 0.015) if index > 4500 else row
        for index, row in enumerate(world.rows)
    )
    world.advance(6700)
    world.drift(since_row=6600, identity="d2")
    world.advance(9300)
    assert world.serving.serving.champion.version == "online"
    assert world.serving.serving.generation == 2
    promoted = [decision for decision in world.decisions() if decision.step == "promoted"][-1]
    assert promoted.model.predecessor.version == "v1"
    trained = [decision for decision in world.decisions() if decision.step == "trained"][-1]
    assert [gate.name for gate in trained.gates if gate.passed] == ["improvement_over_v1"]
    assert any(gate.passed is None for gate in trained.gates)
    while world.runner.step():
        pass
    assert world.registry.show("v1").aliases == ()


def test_a_started_retrainer_goes_on_where_its_group_was(new_world: Callable[..., Any]) -> None:
    world = new_world()
    world.advance(2300)
    for metrics in world.metrics:
        world.log.append([Message("metrics", b"m", encode(metrics))])
    member = world.log.join("g", ["metrics"], "m", lambda _: None, lambda _: None)
    member.poll(1, 0.0)
    member.commit([], {TopicPartition("metrics", 0): len(world.metrics)})
    world.retrainer = started_retrainer(world.pipeline, world.log, "g")
    world.drift(since_row=2000)
    (triggered,) = world.decisions()
    assert triggered.data.offsets["0"][0] in range(2000, 2100)
    again = started_retrainer(world.pipeline, world.log, "g")
    assert again.state == world.retrainer.state


def test_a_started_retrainer_counts_the_warnings_before_it(new_world: Callable[..., Any]) -> None:
    world = new_world()
    world.advance(2300)
    given: list[Any] = []
    world.give = lambda _, event: given.append(event)
    for name in "abc":
        world.drift(since_row=2000, identity=name, level="warning")
    del world.give
    for drift in given[:2]:
        world.log.append([Message("drift", b"d", encode(drift))])
    member = world.log.join("g", ["drift"], "m", lambda _: None, lambda _: None)
    member.poll(1, 0.0)
    member.commit([], {TopicPartition("drift", 0): 2})
    world.retrainer = started_retrainer(world.pipeline, world.log, "g")
    world.give("drift", given[2])
    (triggered,) = world.decisions()
    assert triggered.reason.endswith("(a, b, c)")


def test_a_log_that_is_away_postpones_what_is_to_follow(new_world: Callable[..., Any]) -> None:
    world = collecting(new_world())
    world.runner.step = lambda: False
    world.advance(4000)
    clock = VirtualClock()
    runner = EffectRunner(world.pipeline, world.log, world.artifacts, world.registry, clock)
    poll, away = runner._tail.poll, True

    def poll_if_there(most: int, wait_s: float) -> Any:
        if away:
            raise LogUnavailableError("the broker is away")
        return poll(most, wait_s)

    runner._tail = SimpleNamespace(poll=poll_if_there, close=runner._tail.close)  # type: ignore[assignment]
    assert not runner.step()
    away = False
    assert not runner.step()
    assert not world.commands()
    clock.advance_s(1.0)
    assert runner.step()
    assert len(world.commands()) == 1
    runner.close()
