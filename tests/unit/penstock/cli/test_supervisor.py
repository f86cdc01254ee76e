"""The supervisor over children that are stood in for by one-line programs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.cli import supervisor as module
from penstock.cli.context import Context
from penstock.cli.occupancy import occupied
from penstock.cli.supervisor import MOST_CRASHES, STREAM_GROUPS, Supervisor, several
from penstock.errors import DependencyError
from penstock.interrupts import deaf_children
from penstock.settings import Settings


def supervised(monkeypatch, tmp_path, program: str) -> Supervisor:
    """A supervisor of one child that runs ``program``."""

    def start(self: Supervisor, roles: tuple[str, ...]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)

    monkeypatch.setattr(Supervisor, "_start", start)
    return Supervisor(Context(Settings(data_dir=tmp_path), None, as_json=False), [("learner",)])


def check_for(supervisor: Supervisor, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        supervisor.check()
        time.sleep(0.01)


def test_a_killed_child_is_started_again(monkeypatch, tmp_path):
    with supervised(monkeypatch, tmp_path, "input()") as supervisor:
        (first,) = supervisor.pids()
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while supervisor.pids() in ([], [first]):
            assert time.monotonic() < deadline
            supervisor.check()
    assert supervisor.pids() == []


@pytest.mark.parametrize(("code", "words"), [(1, f"ended {MOST_CRASHES + 1} times in a row"), (3, "exit code 3")])
def test_a_child_that_cannot_run_ends_the_command_with_one_line(monkeypatch, tmp_path, code, words):
    with supervised(monkeypatch, tmp_path, f"raise SystemExit({code})") as supervisor:
        with pytest.raises(DependencyError, match=words) as caught:
            check_for(supervisor, 20)
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)


def test_crashes_far_apart_are_no_loop(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SOON_S", 0.0)
    with supervised(monkeypatch, tmp_path, "import time; time.sleep(0.05); raise SystemExit(1)") as supervisor:
        pids = set()
        deadline = time.monotonic() + 60
        while len(pids) <= MOST_CRASHES + 1:
            assert time.monotonic() < deadline
            pids |= set(supervisor.pids())
            supervisor.check()


def test_children_do_not_hear_the_terminals_ctrl_c():
    with deaf_children():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    child.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)
    child.kill()
    child.wait()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_data_directory_has_one_supervisor_or_one_per_pipeline(tmp_path):
    own, other = tmp_path / "credit", tmp_path / "cards"
    own.mkdir()
    other.mkdir()
    with occupied(tmp_path, shared=True), occupied(own), occupied(tmp_path, shared=True), occupied(other):
        for directory in (tmp_path, own):
            with pytest.raises(DependencyError, match="another"), occupied(directory):
                pass
    with occupied(tmp_path):
        assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["cards", "credit"]


def test_several_workers_share_every_stream_group_but_the_retrainer():
    assert several(STREAM_GROUPS, 1) == list(STREAM_GROUPS)
    groups = several(STREAM_GROUPS, 3)
    assert [groups.count(group) for group in STREAM_GROUPS] == [3, 3, 1]
