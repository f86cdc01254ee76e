"""The same promise with real processes, real SIGKILLs and the log in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.testing.kill_points import POINTS

#: What the killed process runs: the loop of the rig over the log and the checkpoints in the given directory.
WORKER = """
import importlib.util, os, sys
from pathlib import Path
from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.testing.kill_points import kill_points_for
spec = importlib.util.spec_from_file_location("rig", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
log = EmbeddedLog(Path(sys.argv[2]) / "log.db", "toy", SystemClock())
rig = module.Rig(Path(sys.argv[2]) / "checkpoints", log=log)
rig.drain(rig.loop(reached=kill_points_for("summer", os.environ)))
print("drained")
"""


def worker(directory: Path, kill_at: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WORKER, str(Path(__file__).with_name("conftest.py")), str(directory)],
        env={**os.environ, "PENSTOCK_KILL_AT": kill_at},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def embedded_rig(tmp_path: Path, make_rig: Callable[..., Any]) -> Any:
    log = EmbeddedLog(tmp_path / "log.db", "toy", SystemClock())
    rig = type(make_rig())(tmp_path / "checkpoints", log=log)
    yield rig
    log.close()


@pytest.mark.system
@pytest.mark.parametrize("point", POINTS)
def test_killed_processes_lose_and_double_nothing(embedded_rig: Any, tmp_path: Path, point: str) -> None:
    rig = embedded_rig
    rig.feed(0, 30)
    killed = worker(tmp_path, f"summer:{point}:3")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 0 < len(rig.values("predictions")) < 30
    rig.drain(rig.loop())
    outputs, state = rig.fresh_fold()
    assert rig.values("predictions") == outputs
    assert rig.stages[0].state() == state
