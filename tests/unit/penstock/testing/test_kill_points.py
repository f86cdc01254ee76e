from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from penstock.errors import UsageError
from penstock.testing.kill_points import POINTS, KillPoints, kill_points_for


def test_it_kills_at_the_nth_time_and_at_no_other() -> None:
    kills: list[int] = []
    points = KillPoints("after_commit", 3, lambda: kills.append(1))
    for expected in (0, 0, 1, 1, 1):
        points("mid_batch")
        points("after_commit")
        assert len(kills) == expected


def test_without_the_variable_or_for_another_stage_nothing_happens() -> None:
    for environment in ({}, {"PENSTOCK_KILL_AT": ""}, {"PENSTOCK_KILL_AT": "joiner:mid_batch:1"}):
        reached = kill_points_for("learner", environment)
        for point in POINTS:
            reached(point)


@pytest.mark.parametrize(
    "text", ["learner", "learner:nowhere:1", "learner:mid_batch:0", "learner:mid_batch:x", ":mid_batch:1"]
)
def test_a_wrong_setting_is_an_error_and_not_a_test_that_tests_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="expected <stage>:<point>:<nth>"):
        kill_points_for("learner", {"PENSTOCK_KILL_AT": text})


def test_the_process_really_dies_of_sigkill() -> None:
    code = (
        "import os; from penstock.testing.kill_points import kill_points_for\n"
        "reached = kill_points_for('learner', os.environ)\n"
        "reached('mid_batch'); print('one', flush=True); reached('mid_batch'); print('two', flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PENSTOCK_KILL_AT": "learner:mid_batch:2"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "one\n")
