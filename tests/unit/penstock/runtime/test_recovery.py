from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import ArtifactError, StageBugError, StateMismatchError, UnrecoverableStateError
from penstock.log.port import Message, TopicPartition
from penstock.runtime.checkpoint import Checkpoint, StateIdentity, library_versions
from penstock.runtime.patience import Patience
from penstock.runtime.recovery import Recovery
from penstock.runtime.stage import Output


def paths(rig: Any) -> list[Any]:
    """Newest first."""
    return sorted(rig.directory.rglob("*.checkpoint"), reverse=True)


def stop_hard(rig: Any, count: int = 40, **options: Any) -> None:
    """A run that ends without its graceful close."""
    rig.feed(0, count)
    rig.drain(rig.loop(**options))


def recovered(rig: Any, **options: Any) -> Any:
    """The stage that a new loop starts with."""
    loop = rig.loop(**options)
    loop.step(0.0)
    return rig.stages[0]


def forget_before(rig: Any, topic: str, offset: int) -> None:
    """Retention passes ``offset``."""
    held = rig.log._topics[topic][0]
    held.records = [record for record in held.records if record.offset >= offset]
    held.first = offset


def test_replay_is_muted_and_ends_at_the_committed_offsets(rig: Any) -> None:
    stop_hard(rig)
    before = rig.values("predictions")
    total, labels, seen = json.loads(rig.fresh_fold()[1])
    for path in paths(rig)[:2]:
        path.unlink()
    assert next(rig.checkpoints.candidates("summer", 0)).checkpoint.offsets["labels"] < 40
    rig.log.append([rig.request("later", 1.0)])
    assert json.loads(recovered(rig).state()) == [total + 1.0, labels, seen + 1]
    assert rig.values("predictions")[:-1] == before
    assert len(rig.values("predictions")) == 41


@pytest.mark.parametrize("harm", ["truncate", "flip", "delete"])
@pytest.mark.parametrize("harmed", [1, 2, 3])
def test_harmed_checkpoints_are_passed_over_for_older_ones_or_the_origin(rig: Any, harm: str, harmed: int) -> None:
    stop_hard(rig)
    assert len(paths(rig)) == 3
    for path in paths(rig)[:harmed]:
        data = path.read_bytes()
        if harm == "truncate":
            path.write_bytes(data[:-20])
        elif harm == "flip":
            path.write_bytes(data[:-150] + bytes([data[-150] ^ 4]) + data[-149:])
        else:
            path.unlink()
    assert recovered(rig).state() == rig.fresh_fold()[1]


def test_a_checkpoint_ahead_of_the_committed_offsets_is_discarded(rig: Any) -> None:
    stop_hard(rig)
    identity = StateIdentity(rig.pipeline.state_digest(), library_versions())
    lost = Checkpoint("summer", 0, identity, {"requests": 40, "labels": 41}, b"[1e9, 1e9, 1]")
    rig.checkpoints.write(lost)
    assert recovered(rig).state() == rig.fresh_fold()[1]
    assert lost not in [stored.checkpoint for stored in rig.checkpoints.candidates("summer", 0)]


def test_what_was_replayed_is_saved_though_nothing_new_came(rig: Any) -> None:
    rig.feed(0, 20)
    rig.drain(rig.loop(checkpoints=None))  # dies without a checkpoint
    loop = rig.loop()
    assert rig.drain(loop) == 0
    loop.close()
    (saved,) = rig.checkpoints.candidates("summer", 0)
    assert saved.checkpoint.offsets == {"requests": 20, "labels": 20}


def test_checkpoints_of_a_log_that_is_gone_are_discarded(make_rig: Callable[..., Any]) -> None:
    old, new = make_rig(), make_rig()
    stop_hard(old)
    new.checkpoints = old.checkpoints
    new.feed(0, 3)
    new.drain(new.loop(checkpoint_every_s=1e9))
    assert list(new.checkpoints.candidates("summer", 0)) == []
    assert new.values("predictions") == new.fresh_fold()[0]


@pytest.mark.parametrize("what", ["spec", "versions"])
def test_a_state_that_was_made_differently_stops_and_names_the_choices(rig: Any, what: str) -> None:
    stop_hard(rig)
    changes = mismatch(rig, what)
    with pytest.raises(StateMismatchError, match=r"--rebuild.*--new-epoch") as caught:
        rig.loop(**changes).step(0.0)
    assert caught.value.exit_code == 3
    assert ("river 0.0 -> " if what == "versions" else "the spec") in str(caught.value)
    assert len(paths(rig)) == 3


def mismatch(rig: Any, what: str) -> dict[str, Any]:
    if what == "spec":
        return {"pipeline": rig.spec(threshold=0.4)}
    for stored in list(rig.checkpoints.candidates("summer", 0))[::-1]:
        checkpoint = stored.checkpoint
        versions = {**checkpoint.identity.versions, "river": "0.0"}
        rig.checkpoints.write(replace(checkpoint, identity=replace(checkpoint.identity, versions=versions)))
    return {}


@pytest.mark.parametrize("what", ["spec", "versions"])
def test_rebuild_folds_again_from_the_origin_and_need_not_be_repeated(rig: Any, what: str) -> None:
    stop_hard(rig)
    changes = mismatch(rig, what)
    before = rig.values("predictions")
    assert recovered(rig, on_mismatch="rebuild", **changes).state() == rig.fresh_fold()[1]
    assert rig.values("predictions") == before
    assert recovered(rig, **changes).state() == rig.fresh_fold()[1]


def test_a_new_epoch_starts_fresh_at_the_committed_offsets_says_so_and_need_not_be_repeated(rig: Any) -> None:
    stop_hard(rig)
    changes = mismatch(rig, "spec")
    stage = recovered(rig, on_mismatch="new-epoch", **changes)
    assert json.loads(stage.state()) == [0.0, 0.0, 0]
    (alert,) = [json.loads(value) for value in rig.values("alerts")]
    assert alert["id"] == "new-epoch-summer-0-40-40"
    rig.log.append([rig.request("next", 2.0)])
    again = recovered(rig, **changes)
    assert json.loads(again.state()) == [2.0, 0.0, 1]
    assert len(rig.values("predictions")) == 41
    assert len(rig.values("alerts")) == 1


def test_thresholds_do_not_affect_state(rig: Any) -> None:
    from penstock.spec import DriftPolicy

    stop_hard(rig)
    same = rig.spec(drift=DriftPolicy(effect_floor=0.2))
    assert recovered(rig, pipeline=same).state() == rig.fresh_fold()[1]


def test_a_state_that_does_not_load_is_a_mismatch(rig: Any) -> None:
    stop_hard(rig)
    newest = next(rig.checkpoints.candidates("summer", 0)).checkpoint
    rig.checkpoints.write(replace(newest, state=b"[1, 2"))
    with pytest.raises(StateMismatchError, match="it does not load"):
        rig.loop().step(0.0)
    assert recovered(rig, on_mismatch="rebuild").state() == rig.fresh_fold()[1]


def test_retention_beyond_the_newest_checkpoint_is_no_loss(rig: Any) -> None:
    stop_hard(rig)
    rig.loop().close()
    newest = next(rig.checkpoints.candidates("summer", 0)).checkpoint.offsets
    state = rig.fresh_fold()[1]
    for topic, offset in newest.items():
        forget_before(rig, topic, offset)
    assert recovered(rig).state() == state


def test_state_that_nothing_reaches_back_to_stops_and_says_what_is_missing(rig: Any) -> None:
    stop_hard(rig)
    for path in paths(rig):
        path.unlink()
    forget_before(rig, "labels", 5)
    with pytest.raises(UnrecoverableStateError, match=r"labels/0 is needed from offset 0, .* holds 5 to 40") as caught:
        rig.loop().step(0.0)
    assert caught.value.exit_code == 3
    assert "--new-epoch" in str(caught.value)
    assert json.loads(recovered(rig, on_mismatch="new-epoch").state()) == [0.0, 0.0, 0]


def test_an_intact_checkpoint_that_the_log_no_longer_reaches_is_passed_over(rig: Any) -> None:
    stop_hard(rig)
    oldest = list(rig.checkpoints.candidates("summer", 0))[-1].checkpoint.offsets
    for path in paths(rig)[:-1]:
        path.write_bytes(b"")
    forget_before(rig, "requests", oldest["requests"] + 1)
    with pytest.raises(UnrecoverableStateError, match="requests/0 is needed from offset 0"):
        rig.loop().step(0.0)


def test_what_a_replayed_stage_depends_on_being_away_is_no_bug(rig: Any) -> None:
    stop_hard(rig)

    class Needy(type(rig.make_stage(0))):  # type: ignore[misc]
        def process(self, inputs: Sequence[Any]) -> list[Output]:
            raise ArtifactError("the disk is away")

    with pytest.raises(ArtifactError, match="the disk is away"):
        rig.loop(make_stage=lambda _: Needy(), checkpoints=None).step(0.0)


def test_a_log_that_ends_before_what_was_committed_is_said_so(rig: Any) -> None:
    stop_hard(rig)
    held = rig.log._topics["requests"][0]
    del held.records[30:]
    held.end = 30
    recovery = Recovery(
        rig.entry, rig.pipeline, rig.log, rig.make_stage, None, "stop", Patience(rig.clock, rig.clock.advance_s, 1.0)
    )
    with pytest.raises(UnrecoverableStateError, match="up to offset 40, but the log ends at 30"):
        recovery.recover(0, {"requests": 40, "labels": 40})


def test_a_group_that_starts_late_starts_with_the_oldest_record(rig: Any) -> None:
    rig.feed(0, 10)
    forget_before(rig, "requests", 4)
    rig.drain(rig.loop())
    assert rig.values("predictions") == rig.fresh_fold()[0]


def test_dead_letters_are_not_written_again(rig: Any) -> None:
    rig.feed(0, 5)
    rig.log.append([Message("requests", None, b"broken", 0)])
    rig.feed(5, 10)
    rig.drain(rig.loop(checkpoints=None))
    stage = recovered(rig, checkpoints=None)
    assert len(rig.values("dead-letters")) == 1
    assert stage.seen == 10


def test_a_bug_in_replay_is_loud(rig: Any) -> None:
    stop_hard(rig)

    class Worse(type(rig.make_stage(0))):  # type: ignore[misc]
        def process(self, inputs: Sequence[Any]) -> list[Output]:
            raise KeyError("gone")

    with pytest.raises(StageBugError, match="replaying up to"):
        rig.loop(make_stage=lambda _: Worse(), checkpoints=None).step(0.0)


def test_offsets_with_gaps_also_at_the_end_are_replayed_to_the_end(rig: Any) -> None:
    rig.feed(0, 20)
    rig.drain(rig.loop(checkpoints=None))
    held = rig.log._topics["requests"][0]
    held.records = [record for record in held.records if record.offset % 3 == 1 and record.offset < 18]
    assert recovered(rig, checkpoints=None).seen == 6
    assert rig.log.committed("toy.summer", TopicPartition("requests", 0)) == 20


def test_two_topics_are_replayed_by_append_time_and_then_by_name(rig: Any) -> None:
    order: list[str] = []

    class Noting(type(rig.make_stage(0))):  # type: ignore[misc]
        def process(self, inputs: Sequence[Any]) -> list[Output]:
            order.extend(f"{read.topic}{read.offset}@{read.timestamp_ms}" for read in inputs)
            return super().process(inputs)

    for topic, time_ms in [("r", 0), ("l", 0), ("r", 0), ("r", 5), ("l", 7), ("l", 7), ("r", 7)]:
        rig.clock.advance_to_ms(1_000 + time_ms)
        rig.log.append([rig.request("x", 1.0) if topic == "r" else rig.label("x", 1.0)])
    rig.drain(rig.loop(checkpoints=None))
    rig.loop(make_stage=lambda _: Noting(), checkpoints=None).step(0.0)
    assert order == [
        "labels0@1000",
        "requests0@1000",
        "requests1@1000",
        "requests2@1005",
        "labels1@1007",
        "labels2@1007",
        "requests3@1007",
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=st.lists(st.integers(0, 30), min_size=1, max_size=6), keep=st.integers(0, 3))
def test_from_any_usable_checkpoint_the_state_is_that_of_the_fold(
    make_rig: Callable[..., Any], points: list[int], keep: int
) -> None:
    rig = make_rig()
    at = 0
    for count in points:
        rig.feed(at, at + count)
        at += count
        rig.drain(rig.loop(max_batch=11))
    for path in paths(rig)[: 3 - keep]:
        path.unlink()
    assert recovered(rig).state() == rig.fresh_fold()[1]


def test_effects_are_muted_while_inputs_are_processed_again(rig: Any) -> None:
    heard: list[str] = []

    class Publishing(type(rig.make_stage(0))):  # type: ignore[misc]
        muted = False

        def mute(self, muted: bool) -> None:
            self.muted = muted

        def process(self, inputs: Sequence[Any]) -> list[Output]:
            heard.extend(f"{read.event.id} {self.muted}" for read in inputs if read.topic == "requests")
            return super().process(inputs)

    for number in range(3):
        rig.log.append([rig.request(str(number), 1.0)])
    rig.drain(rig.loop(make_stage=lambda _: Publishing(), checkpoints=None))
    rig.log.append([rig.request("new", 1.0), rig.request("bug", 1.0)])
    with pytest.raises(StageBugError, match="offset 4"):
        rig.drain(rig.loop(make_stage=lambda _: Publishing(), checkpoints=None))
    before, after = heard[:3], heard[3:]
    assert before == ["0 False", "1 False", "2 False"]
    assert after[:5] == ["0 True", "1 True", "2 True", "new False", "bug False"]
    assert len(after) == 10
    assert all(line.endswith("True") for line in after[5:])
