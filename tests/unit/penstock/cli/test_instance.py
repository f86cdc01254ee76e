"""Member names: unique among the living, the same after a restart."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli.instance import NAME_FILE, installation_name, member_names
from penstock.errors import DependencyError

HOLD = """
import sys
from pathlib import Path
from penstock.cli.instance import member_names
with member_names(Path(sys.argv[1]), "toy", sys.argv[2:], None) as names:
    print(*names.values(), flush=True)
    sys.stdin.read()
"""


def hold(data_dir: Path, *roles: str) -> tuple[subprocess.Popen[str], list[str]]:
    """A process that bears its names until its input ends, and those names."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data_dir), *roles], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split()


def test_the_lowest_free_ordinal_is_taken_and_given_back(tmp_path: Path) -> None:
    own = installation_name(tmp_path)
    with member_names(tmp_path, "toy", ["learner", "joiner"], None) as first:
        assert first == {"learner": f"learner-{own}-0", "joiner": f"joiner-{own}-0"}
        with member_names(tmp_path, "toy", ["learner", "monitor"], None) as second:
            assert second == {"learner": f"learner-{own}-1", "monitor": f"monitor-{own}-0"}
        with member_names(tmp_path, "toy", ["learner"], None) as again:
            assert again == {"learner": f"learner-{own}-1"}
        with member_names(tmp_path, "other", ["learner"], None) as other:
            assert other == {"learner": f"learner-{own}-0"}


def test_a_killed_process_is_followed_by_one_of_its_name(tmp_path: Path) -> None:
    first, (name,) = hold(tmp_path, "learner")
    second, (beside,) = hold(tmp_path, "learner")
    try:
        assert name.endswith("-0")
        assert beside.endswith("-1")
        first.send_signal(signal.SIGKILL)
        first.wait()
        with member_names(tmp_path, "toy", ["learner"], None) as names:
            assert names["learner"] == name
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


def test_a_child_does_not_hold_its_killed_parent_s_name(tmp_path: Path) -> None:
    with member_names(tmp_path, "toy", ["learner"], None) as names:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with member_names(tmp_path, "toy", ["learner"], None) as again:
            assert again == names
    finally:
        child.kill()
        child.communicate()


def test_a_configured_instance_stands_for_both_parts(tmp_path: Path) -> None:
    with member_names(tmp_path, "toy", ["learner", "joiner"], "penstock-3") as names:
        assert names == {"learner": "learner-penstock-3", "joiner": "joiner-penstock-3"}
    assert list(tmp_path.iterdir()) == []


def test_two_data_directories_are_two_installations(tmp_path: Path) -> None:
    assert installation_name(tmp_path / "one") != installation_name(tmp_path / "other")
    assert installation_name(tmp_path / "one") == installation_name(tmp_path / "one")


def test_a_damaged_name_is_not_replaced_in_silence(tmp_path: Path) -> None:
    (tmp_path / NAME_FILE).write_text("")
    with pytest.raises(DependencyError, match="damaged"):
        installation_name(tmp_path)


def test_a_data_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DependencyError, match="cannot be used"),
        member_names(tmp_path / "file", "toy", ["learner"], None),
    ):
        pass


def test_processes_that_start_at_once_agree_on_the_installation(tmp_path: Path) -> None:
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        names = pool.map(installation_name, [tmp_path / str(n // 8) for n in range(32)], chunksize=1)
    assert len(set(names)) == 4
