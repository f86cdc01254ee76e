"""A batch version is fitted again on the rows that its run recorded: the same model, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from online import snapshot
from online.committee import Committee
from penstock.cli.compose import System
from penstock.cli.rebuild_batch import _base, rebuild_batch
from penstock.errors import ArtifactError, UsageError
from penstock.events import ModelRecord, RetrainCommand, encode
from penstock.log.memory import MemoryLog
from penstock.log.port import Message
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.spec import Gates, Rollout
from penstock.telemetry import Telemetry
from retraining.warm_start import ONLINE_COPY, Base
from tests.unit.retraining.conftest import World, make_pipeline, stream


def system_of(world: Any) -> System:
    return System(
        world.pipeline,
        world.log,
        world.artifacts,
        MemoryCheckpoints(),
        lambda: EverySnapshot(world.artifacts),
        world.clock,
        Telemetry(),
    )


@pytest.fixture(scope="module")
def world(new_world: Callable[..., Any]) -> Any:
    world = new_world()
    world.advance(2200)
    world.drift(since_row=2000)
    world.advance(4600)
    assert world.steps()[-1] == "promoted"
    return world


def test_a_batch_version_is_fitted_again_bit_for_bit(world: Any) -> None:
    rebuilt = rebuild_batch(system_of(world), world.decisions(), "v1")
    assert rebuilt.identical, rebuilt
    assert (rebuilt.base, rebuilt.partition, rebuilt.snapshot) == ("data", None, None)
    assert (rebuilt.start, rebuilt.stop) == world.decisions()[1].data.offsets["0"]
    assert rebuilt.examples == rebuilt.stop - rebuilt.start
    assert rebuilt.rows == 512


def test_other_rows_give_another_model(world: Any) -> None:
    changed = MemoryLog(world.clock)
    changed.ensure_topics(list(world.log._configs.values()))
    for value in world._values("examples"):
        changed.append([Message("examples", b"k", value.replace(b'"salary":', b'"salary":1'))])
    system = system_of(world)
    other = System(
        system.pipeline, changed, system.artifacts, system.checkpoints, system.snapshots, system.clock, system.telemetry
    )
    assert not rebuild_batch(other, world.decisions(), "v1").identical


def test_a_version_that_never_was_is_bad_usage(world: Any) -> None:
    with pytest.raises(UsageError, match="v9"):
        rebuild_batch(system_of(world), world.decisions(), "v9")


def test_a_published_model_that_is_not_the_announced_one_is_refused(world: Any) -> None:
    decisions = [
        d if d.model is None else msgspec.structs.replace(d, model=msgspec.structs.replace(d.model, digest="0" * 64))
        for d in world.decisions()
    ]
    with pytest.raises(ArtifactError):
        rebuild_batch(system_of(world), decisions, "v1")


def test_a_snapshot_that_a_copy_started_from_is_learned_again_where_it_is_gone(world: Any) -> None:
    record = ModelRecord(
        slot="online-0", version="online", kind="online", generation=0, snapshot=200, offset=199, uri="00/" + "0" * 64
    )
    chosen = msgspec.json.encode({"settings": Base(record, b"").settings}).decode()
    base = _base(system_of(world), {ONLINE_COPY: chosen})
    assert isinstance(base, Base)
    assert base.record == record
    committee = Committee(world.pipeline)
    for row in world.rows[:200]:
        committee.learn_one(row.features, row.outcome, None)
    features = [row.features for row in world.rows[200:300]]
    assert snapshot.load(world.pipeline, base.data).score_many(features) == committee.score_many(features)
    assert _base(system_of(world), {}) == "the run had none"


def test_a_copy_of_the_online_model_that_won_is_made_again() -> None:
    """Few rows to fit on, of a concept that the snapshot has seen much of; what was answered there is poor."""
    pipeline = make_pipeline(Gates(confidence=0.6), Rollout(), collect_rows=240, trial_rows=240, effect_rows=100)
    policy = replace(pipeline.retraining, comparison_share=0.5)
    pipeline = replace(pipeline, retraining=policy, tier="light")
    world = World(pipeline, stream(((4, 5000),)))
    committee = Committee(pipeline)
    for row in world.rows[1000:]:
        committee.learn_one(row.features, row.outcome, None)
    ref = world.artifacts.put(snapshot.dump(committee))
    record = ModelRecord(
        slot="online-0", version="online", kind="online", generation=0, snapshot=10, offset=9,
        uri=ref.uri, digest=ref.digest, signature=ref.signature,
    )  # fmt: skip
    world.advance(400)
    world.log.append([Message("models", b"online-0", encode(record))])
    world.command(RetrainCommand(id="c", by="ann", at_ms=0))
    world.advance(700)
    trained = next(decision for decision in world.decisions() if decision.step == "trained")
    assert trained.reason.startswith(f"best: {ONLINE_COPY}")
    assert world.serving.serving.champion.version == "v1"
    assert rebuild_batch(system_of(world), world.decisions(), "v1").identical
