"""A crash at any point of a step, any number of times: each input has its effects exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import LogUnavailableError
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.testing.kill_points import POINTS, KillPoints


class Crash(BaseException):
    """Stands for SIGKILL: no handler of ours may take it for an ordinary error."""


def crash() -> None:
    raise Crash


def run_to_crash(rig: Any, point: str, nth: int, **options: Any) -> bool:
    """True where the loop died at the point; the dead loop is not closed, as a killed process closes nothing."""
    loop = rig.loop(reached=KillPoints(point, nth, crash), **options)
    try:
        rig.drain(loop)
    except Crash:
        return True
    return False


def assert_exactly_once(rig: Any, partition: int = 0) -> None:
    outputs, state = rig.fresh_fold(partition)
    assert rig.values("predictions", partition) == outputs
    assert rig.stages[partition].state() == state


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 2, 5])
def test_a_crash_at_each_point_loses_and_doubles_nothing(rig: Any, point: str, nth: int) -> None:
    rig.feed(0, 40)
    assert run_to_crash(rig, point, nth)
    rig.drain(rig.loop())
    assert_exactly_once(rig)


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_every_occurrence_of_a_point(rig: Any, point: str) -> None:
    rig.feed(0, 40)
    crashes = 0
    while run_to_crash(rig, point, 2):
        crashes += 1
        rig.feed(40 + crashes, 41 + crashes)
        if crashes > 30:
            break
    rig.drain(rig.loop())
    assert crashes >= 5
    assert_exactly_once(rig)


def test_a_crash_loop_that_never_commits_never_loses_the_good_checkpoints(rig: Any) -> None:
    rig.feed(0, 30)
    rig.drain(rig.loop())
    rig.feed(30, 60)
    for _ in range(10):
        assert run_to_crash(rig, "after_checkpoint", 1)
    usable = [s.checkpoint.offsets for s in rig.checkpoints.candidates("summer", 0)]
    assert {"requests": 30, "labels": 30} in usable
    rig.drain(rig.loop())
    assert_exactly_once(rig)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    deaths=st.lists(
        st.tuples(st.sampled_from(POINTS), st.integers(1, 6), st.integers(1, 12), st.sampled_from([0.0, 0.004, 1e9])),
        max_size=12,
    )
)
def test_any_series_of_crashes(make_rig: Callable[..., Any], deaths: list[tuple[str, int, int, float]]) -> None:
    rig = make_rig(partitions=2)
    for partition in range(2):
        rig.feed(0, 25, partition)
    at = 25
    for point, nth, batch, every_s in deaths:
        run_to_crash(rig, point, nth, max_batch=batch, checkpoint_every_s=every_s)
        rig.feed(at, at + 3, at % 2)
        at += 3
    rig.drain(rig.loop())
    for partition in range(2):
        assert_exactly_once(rig, partition)


def test_without_checkpoints_the_whole_log_is_folded_again(rig: Any) -> None:
    rig.feed(0, 30)
    assert run_to_crash(rig, "after_commit", 3, checkpoints=None)
    rig.drain(rig.loop(checkpoints=None))
    assert_exactly_once(rig)


def test_a_stage_without_state_needs_no_checkpoint(rig: Any) -> None:
    class Echo:
        def process(self, inputs: Any) -> list[Any]:
            return [i for read in inputs for i in rig.make_stage(0).process([read])]

    rig.feed(0, 20)
    store = MemoryCheckpoints()
    loop = rig.loop(make_stage=lambda _: Echo(), checkpoints=store, reached=KillPoints("after_commit", 2, crash))
    with pytest.raises(Crash):
        rig.drain(loop)
    rig.drain(rig.loop(make_stage=lambda _: Echo(), checkpoints=store))
    assert len(rig.values("predictions")) == 20
    assert list(store.candidates("summer", 0)) == []


def test_an_outage_and_then_a_crash(rig: Any) -> None:
    rig.feed(0, 20)

    def outage(point: str) -> None:
        if point == "after_checkpoint":
            raise LogUnavailableError("gone")

    with pytest.raises(LogUnavailableError):
        rig.drain(rig.loop(reached=outage))
    rig.drain(rig.loop())
    assert_exactly_once(rig)
