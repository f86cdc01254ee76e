from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import (
    ArtifactError,
    CheckpointError,
    FencedError,
    LogUnavailableError,
    PenstockError,
    StageBugError,
)
from penstock.log.port import Message, TopicPartition
from penstock.runtime.checkpoint import Checkpoint, MemoryCheckpoints
from penstock.runtime.loop import group_name
from penstock.runtime.stage import Output


class FlakyLog:
    """A log whose memberships fail for a while in the named call."""

    def __init__(self, log: Any, call: str, failures: int) -> None:
        self._log, self._call, self.left = log, call, failures
        self.tried: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def join(self, *args: Any) -> Any:
        membership = self._log.join(*args)
        outer = self

        class Flaky:
            def __getattr__(self, name: str) -> Any:
                if name != outer._call:
                    return getattr(membership, name)

                def call(*args: Any) -> Any:
                    outer.tried.append(args)
                    if outer.left:
                        outer.left -= 1
                        raise LogUnavailableError("the disk is full")
                    return getattr(membership, name)(*args)

                return call

        return Flaky()


def committed(rig: Any, topic: str, partition: int = 0) -> int | None:
    return rig.log.committed(group_name("toy", "summer"), TopicPartition(topic, partition))


def sample(rig: Any, name: str) -> float | None:
    return rig.telemetry.registry.get_sample_value(name, {"stage": "summer"})


def test_each_input_has_its_output_once_and_offsets_are_committed(rig: Any) -> None:
    rig.feed(0, 20)
    loop = rig.loop()
    assert rig.drain(loop) == 40
    outputs, state = rig.fresh_fold()
    assert rig.values("predictions") == outputs
    assert rig.stages[0].state() == state
    assert (committed(rig, "requests"), committed(rig, "labels")) == (20, 20)
    assert loop.step(0.0) == 0


def test_a_graceful_stop_goes_on_where_it_was_without_replay(rig: Any) -> None:
    rig.feed(0, 10)
    loop = rig.loop(checkpoint_every_s=1e9)
    rig.drain(loop)
    loop.close()
    loop.close()
    rig.feed(10, 20)
    seen: list[int] = []

    class Counting(type(rig.make_stage(0))):  # type: ignore[misc]
        def process(self, inputs: Sequence[Any]) -> list[Output]:
            seen.append(len(inputs))
            return super().process(inputs)

    second = rig.loop(make_stage=lambda _: Counting())
    rig.drain(second)
    assert sum(seen) == 20
    assert rig.values("predictions") == rig.fresh_fold()[0]


def test_a_closed_loop_cannot_be_stepped(rig: Any) -> None:
    loop = rig.loop()
    loop.close()
    with pytest.raises(PenstockError, match="a new one has to take over"):
        loop.step(0.0)


def test_what_breaks_its_contract_is_a_dead_letter_of_the_same_transaction(rig: Any) -> None:
    rig.log.append(
        [
            rig.request("a", 1.0),
            Message("requests", b"k", b"{broken", 0, (("trace", b"1"),)),
            rig.request("b", 2.0),
            Message("requests", b"n", json.dumps({"id": "n", "features": {"x": "text"}}).encode(), 0),
        ]
    )
    loop = rig.loop()
    assert loop.step(0.0) == 4
    assert [json.loads(value)["id"] for value in rig.values("predictions")] == ["a", "b"]
    dead = rig.log.read(TopicPartition("dead-letters", 0), 0, 10, 10)
    assert [record.value for record in dead] == [
        b"{broken",
        json.dumps({"id": "n", "features": {"x": "text"}}).encode(),
    ]
    assert dict(dead[0].headers)["__streams.errors.offset"] == b"1"
    assert dict(dead[0].headers)["trace"] == b"1"
    assert dict(dead[1].headers)["__streams.errors.message"].startswith(b"features.x: expected a number")
    assert sample(rig, "penstock_dead_letters_total") == 2


def test_a_batch_of_dead_letters_only_moves_on(rig: Any) -> None:
    rig.log.append([Message("requests", None, b"not json", 0)] * 3)
    loop = rig.loop()
    assert loop.step(0.0) == 3
    assert committed(rig, "requests") == 3
    assert len(rig.values("dead-letters")) == 3
    assert loop.step(0.0) == 0


def test_a_bug_of_the_stage_stops_it_with_the_offset_and_commits_nothing(rig: Any) -> None:
    rig.feed(0, 14)
    rig.log.append([rig.request("14", 1.0), rig.request("bug", 1.0), rig.request("16", 1.0)])
    loop = rig.loop(max_batch=6)
    with pytest.raises(StageBugError, match=r"summer: bug at requests/0 offset 15: ZeroDivisionError") as caught:
        rig.drain(loop)
    assert (caught.value.offset, caught.value.exit_code) == (15, 1)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    at = committed(rig, "requests")
    assert at is not None
    assert at <= 15
    assert len(rig.values("predictions")) == at
    assert rig.values("dead-letters") == []
    loop.close()
    again = rig.loop(max_batch=6)
    with pytest.raises(StageBugError, match="offset 15"):
        rig.drain(again)


def test_a_bug_that_does_not_show_again_names_the_batch(rig: Any) -> None:
    rig.feed(0, 2)

    class Moody:
        broken = True

        def process(self, inputs: Sequence[Any]) -> list[Output]:
            if Moody.broken:
                Moody.broken = False
                raise ValueError("moody")
            return []

    with pytest.raises(StageBugError, match="somewhere in the batch"):
        rig.loop(make_stage=lambda _: Moody()).step(0.0)


def test_an_output_to_a_topic_that_the_stage_does_not_write_is_a_bug(rig: Any) -> None:
    rig.feed(0, 1)

    class Stray:
        def process(self, inputs: Sequence[Any]) -> list[Output]:
            return [Output("decisions", "k", inputs[0].event)]

    with pytest.raises(StageBugError, match="KeyError: 'decisions'"):
        rig.loop(make_stage=lambda _: Stray()).step(0.0)
    assert committed(rig, "requests") is None


def test_what_a_stage_depends_on_being_away_is_no_bug(rig: Any) -> None:
    rig.feed(0, 1)

    class Needy:
        def process(self, inputs: Sequence[Any]) -> list[Output]:
            raise ArtifactError("artifact x: the disk is away")

    with pytest.raises(ArtifactError, match="the disk is away"):
        rig.loop(make_stage=lambda _: Needy()).step(0.0)
    assert committed(rig, "requests") is None


@pytest.mark.parametrize("call", ["commit", "poll", "committed"])
def test_an_unavailable_log_is_waited_for_and_nothing_is_processed_twice(rig: Any, call: str) -> None:
    rig.feed(0, 5)
    log = FlakyLog(rig.log, call, failures=4)
    before = rig.clock.monotonic_s()
    rig.drain(rig.loop(log=log))
    assert rig.values("predictions") == rig.fresh_fold()[0]
    assert rig.clock.monotonic_s() - before == pytest.approx(0.05 + 0.1 + 0.2 + 0.4)


def test_the_very_same_transaction_is_tried_again(rig: Any) -> None:
    rig.feed(0, 3)
    log = FlakyLog(rig.log, "commit", failures=2)
    rig.loop(log=log).step(0.0)
    assert log.tried[0] == log.tried[1] == log.tried[2]


def test_patience_ends_and_the_next_loop_has_lost_nothing(rig: Any) -> None:
    rig.feed(0, 20)
    log = FlakyLog(rig.log, "commit", failures=1_000)
    loop = rig.loop(log=log, patience_s=5.0)
    with pytest.raises(LogUnavailableError):
        loop.step(0.0)
    loop.close()
    assert rig.values("predictions") == []
    rig.drain(rig.loop())
    assert rig.values("predictions") == rig.fresh_fold()[0]


def test_a_fenced_loop_raises_and_writes_nothing(rig: Any) -> None:
    rig.feed(0, 10)
    stale = rig.loop()
    stale.step(0.0)
    rig.drain(rig.loop())
    rig.feed(10, 12)
    with pytest.raises(FencedError):
        stale.step(0.0)
    stale.close()
    rig.drain(rig.loop())
    assert rig.values("predictions") == rig.fresh_fold()[0]


def test_a_loop_that_is_fenced_between_poll_and_commit_writes_nothing(rig: Any) -> None:
    rig.feed(0, 5)
    others: list[Any] = []

    def take_over(point: str) -> None:
        if point == "mid_batch" and not others:
            others.append(rig.loop())
            rig.drain(others[0])

    stale = rig.loop(reached=take_over)
    with pytest.raises(FencedError):
        stale.step(0.0)
    assert rig.values("predictions") == rig.fresh_fold()[0]


def test_partitions_move_to_a_second_member_and_back(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(partitions=2)
    loops = [rig.loop(member="a")]

    def spread(start: int, stop: int) -> None:
        for partition in range(2):
            rig.feed(start, stop, partition)
        while sum(loop.step(0.0) for loop in loops):
            pass

    spread(0, 10)
    loops.append(rig.loop(member="b"))
    spread(10, 20)
    spread(20, 30)
    loops.pop(0).close()
    spread(30, 40)
    for partition in range(2):
        assert rig.values("predictions", partition) == rig.fresh_fold(partition)[0]


def test_outputs_follow_the_inputs_partition_or_go_to_the_only_one(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(partitions=3)
    rig.log.append([rig.request(f"{p}", 1.0, p) for p in range(3)])

    class Both:
        def process(self, inputs: Sequence[Any]) -> list[Output]:
            return [Output(topic, "k", i.event) for i in inputs for topic in ("predictions", "metrics")]

    rig.drain(rig.loop(make_stage=lambda _: Both()))
    for partition in range(3):
        assert [json.loads(v)["id"] for v in rig.values("predictions", partition)] == [str(partition)]
    assert sorted(json.loads(v)["id"] for v in rig.values("metrics")) == ["0", "1", "2"]


def test_before_batch_is_called_after_the_poll_and_before_processing(rig: Any) -> None:
    rig.feed(0, 1)
    order: list[str] = []

    class Noting:
        def process(self, inputs: Sequence[Any]) -> list[Output]:
            order.append("process")
            return []

    loop = rig.loop(make_stage=lambda _: Noting(), before_batch=lambda: order.append("before"))
    loop.step(0.0)
    assert order == ["before", "process"]


def test_checkpoints_are_paid_by_the_clock(rig: Any) -> None:
    written: list[float] = []

    class Dear(MemoryCheckpoints):
        def write(self, checkpoint: Checkpoint) -> int:
            rig.clock.advance_s(0.5)
            written.append(rig.clock.monotonic_s())
            return super().write(checkpoint)

    loop = rig.loop(checkpoints=Dear(), checkpoint_every_s=2.0)
    for number in range(400):
        rig.feed(number, number + 1)
        rig.clock.advance_s(0.1)
        loop.step(0.0)
    gaps = [later - earlier for earlier, later in pairwise(written)]
    assert len(gaps) >= 3
    assert all(10.0 <= gap <= 11.0 for gap in gaps)


def test_partitions_share_what_checkpoints_may_cost_and_none_is_left_out(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(partitions=3)
    written: list[int] = []

    class Dear(MemoryCheckpoints):
        def write(self, checkpoint: Checkpoint) -> int:
            rig.clock.advance_s(0.5)
            written.append(checkpoint.partition)
            return super().write(checkpoint)

    loop = rig.loop(checkpoints=Dear(), checkpoint_every_s=1.0, max_batch=100)
    started = rig.clock.monotonic_s()
    for number in range(300):
        for partition in range(3):
            rig.feed(number, number + 1, partition)
        rig.clock.advance_s(0.2)
        loop.step(0.0)
    elapsed = rig.clock.monotonic_s() - started
    assert len(written) * 0.5 <= 0.05 * elapsed + 0.5
    assert written[:6] == [0, 1, 2, 0, 1, 2]


def test_a_state_that_cannot_be_saved_does_not_keep_the_group(rig: Any) -> None:
    class Stuck(type(rig.make_stage(0))):  # type: ignore[misc]
        def state(self) -> bytes:
            raise RuntimeError("cannot be pickled")

    rig.feed(0, 3)
    loop = rig.loop(make_stage=lambda _: Stuck(), member="a", checkpoint_every_s=1e9)
    rig.drain(loop)
    with pytest.raises(StageBugError, match=r"its state cannot be saved .RuntimeError: cannot be pickled"):
        loop.close()
    loop.close()
    rig.feed(3, 6)
    rig.drain(rig.loop(member="b"))
    assert rig.values("predictions") == rig.fresh_fold()[0]


def test_a_cheap_checkpoint_is_written_every_two_seconds(rig: Any) -> None:
    store = MemoryCheckpoints(keep=1_000)
    loop = rig.loop(checkpoints=store, checkpoint_every_s=2.0)
    for number in range(100):
        rig.feed(number, number + 1)
        rig.clock.advance_s(0.1)
        loop.step(0.0)
    assert 4 <= len(list(store.candidates("summer", 0))) <= 5


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_stage(rig: Any) -> None:
    class Full(MemoryCheckpoints):
        def write(self, checkpoint: Checkpoint) -> int:
            raise CheckpointError("no space left")

    rig.feed(0, 20)
    loop = rig.loop(checkpoints=Full())
    rig.drain(loop)
    loop.close()
    assert rig.values("predictions") == rig.fresh_fold()[0]


def test_what_is_counted(rig: Any) -> None:
    rig.feed(0, 10)
    rig.drain(rig.loop(max_batch=5))
    assert sample(rig, "penstock_records_total") == 20
    assert sample(rig, "penstock_commits_total") == 4
    assert sample(rig, "penstock_batch_seconds_count") == 4
    assert sample(rig, "penstock_commit_seconds_count") == 4
    size = sample(rig, "penstock_checkpoint_bytes")
    assert size == max(path.stat().st_size for path in rig.directory.rglob("*.checkpoint"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), cuts=st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=30))
def test_outputs_do_not_depend_on_how_the_stream_was_cut(
    make_rig: Callable[..., Any], data: st.DataObject, cuts: Sequence[int]
) -> None:
    rig = make_rig()
    rig.feed(0, 30)
    for cut in cuts:
        loop = rig.loop(max_batch=cut)
        loop.step(0.0)
        if data.draw(st.booleans()):
            loop.close()
    rig.drain(rig.loop(max_batch=1_000))
    outputs, state = rig.fresh_fold()
    assert rig.values("predictions") == outputs
    assert rig.stages[0].state() == state


def test_the_group_is_named_after_pipeline_and_stage() -> None:
    assert group_name("credit", "learner") == "credit.learner"


def test_commits_carry_outputs_then_dead_letters(rig: Any) -> None:
    log = FlakyLog(rig.log, "commit", failures=0)
    rig.log.append([Message("requests", None, b"x", 0), rig.request("a", 1.0)])
    rig.loop(log=log).step(0.0)
    outputs: Sequence[Message]
    offsets: Mapping[TopicPartition, int]
    outputs, offsets = log.tried[0]
    assert [message.topic for message in outputs] == ["predictions", "dead-letters"]
    assert offsets == {TopicPartition("requests", 0): 2}
