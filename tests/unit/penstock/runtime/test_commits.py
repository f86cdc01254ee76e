from __future__ import annotations

import threading
from typing import Any

import pytest

from penstock.errors import FencedError, LogError, LogUnavailableError, PenstockError
from penstock.log.port import TopicPartition
from penstock.runtime.commits import BackgroundCommits, Commits, InlineCommits
from penstock.runtime.loop import group_name


@pytest.mark.parametrize("commits", [InlineCommits(), BackgroundCommits()], ids=["inline", "background"])
def test_what_was_started_is_done_once_finished(commits: Commits) -> None:
    done: list[int] = []
    commits.finish()
    for number in range(3):
        commits.start(lambda number=number: done.append(number))  # type: ignore[misc]  # a lambda with a default
        commits.finish()
    assert done == [0, 1, 2]
    assert commits.ended()


def test_a_failure_in_the_background_comes_out_at_the_finish_once() -> None:
    commits = BackgroundCommits()

    def fail() -> None:
        raise FencedError("g", 0)

    commits.start(fail)
    with pytest.raises(FencedError):
        commits.finish()
    commits.finish()


class Gate:
    """A log whose commits wait until they are let through; what they do then is the log's own affair."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.open = threading.Event()
        self.error: PenstockError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def join(self, *args: Any) -> Any:
        membership, gate = self._log.join(*args), self

        class Gated:
            def __getattr__(self, name: str) -> Any:
                return getattr(membership, name)

            def commit(self, *args: Any) -> None:
                assert gate.open.wait(20)
                if gate.error is not None:
                    raise gate.error
                membership.commit(*args)

        return Gated()


def committed(rig: Any) -> int | None:
    return rig.log.committed(group_name("toy", "summer"), TopicPartition("requests", 0))


def test_a_batch_is_processed_while_the_one_before_is_committed(rig: Any) -> None:
    rig.feed(0, 14)
    gate, commits = Gate(rig.log), BackgroundCommits()
    loop = rig.loop(log=gate, commits=commits, checkpoint_every_s=1e9)
    assert loop.step(0.0) == 7
    processed = threading.Event()
    process = rig.stages[0].process

    def spy(inputs: Any) -> Any:
        processed.set()
        return process(inputs)

    rig.stages[0].process = spy
    stepping = threading.Thread(target=loop.step, args=(0.0,))
    stepping.start()
    assert processed.wait(20)
    assert committed(rig) is None
    gate.open.set()
    stepping.join(20)
    assert rig.drain(loop) == 14
    loop.close()
    outputs, state = rig.fresh_fold()
    assert rig.values("predictions") == outputs
    assert rig.stages[0].state() == state
    assert committed(rig) == 14


def test_a_failed_commit_ends_the_loop_and_leaves_nothing(rig: Any) -> None:
    rig.feed(0, 14)
    gate = Gate(rig.log)
    gate.error = FencedError("g", 0)
    gate.open.set()
    loop = rig.loop(log=gate, commits=BackgroundCommits())
    with pytest.raises(FencedError):
        rig.drain(loop)
    with pytest.raises(PenstockError, match="has failed"):
        loop.step(0.0)
    loop.close()
    assert rig.values("predictions") == []
    assert committed(rig) is None


def test_a_close_waits_for_the_commit_and_then_leaves_a_checkpoint_that_fits(rig: Any) -> None:
    rig.feed(0, 7)
    gate = Gate(rig.log)
    loop = rig.loop(log=gate, commits=BackgroundCommits(), checkpoint_every_s=1e9, max_batch=14)
    assert loop.step(0.0) == 14
    closing = threading.Thread(target=loop.close)
    closing.start()
    gate.open.set()
    closing.join(20)
    [stored] = rig.checkpoints.candidates("summer", 0)
    assert stored.checkpoint.offsets["requests"] == committed(rig) == 7


def test_a_partition_is_given_up_after_its_commit(rig: Any) -> None:
    rig.feed(0, 7)
    gate = Gate(rig.log)
    gate.open.set()
    first = rig.loop(log=gate, commits=BackgroundCommits(), member="z", checkpoint_every_s=1e9)
    rig.drain(first)
    second = rig.loop(member="a", checkpoint_every_s=1e9)
    second.step(0.0)
    first.step(0.0)
    second.step(0.0)
    outputs, state = rig.fresh_fold()
    assert rig.values("predictions") == outputs
    assert rig.stages[0].state() == state, "the successor recovered what the first had committed"
    first.close()
    second.close()


def test_a_commit_that_failed_for_good_ends_the_loop_at_a_hand_over_too(rig: Any) -> None:
    rig.feed(0, 7)
    gate, commits = Gate(rig.log), BackgroundCommits()
    gate.error = LogUnavailableError("away")
    gate.open.set()
    first = rig.loop(log=gate, commits=commits, member="z", checkpoint_every_s=1e9, max_batch=14)
    assert first.step(0.0) == 14
    while not commits.ended():
        pass
    second = rig.loop(member="a")
    second.step(0.0)
    with pytest.raises(LogError, match="before a hand-over"):
        first.step(0.0)
    with pytest.raises(PenstockError, match="has failed"):
        first.step(0.0)
    assert rig.values("predictions") == []
    first.close()
    second.close()
