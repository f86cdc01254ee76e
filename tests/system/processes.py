"""Starts the command line as real processes, and waits for conditions with a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PENSTOCK = (sys.executable, "-m", "penstock")


def penstock(
    *arguments: str, cwd: Path, timeout_s: float = 300.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*PENSTOCK, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=timeout_s,
        capture_output=True,
        text=True,
        check=False,
    )


def start(*arguments: str, cwd: Path, output: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start one command in a session of its own, its output going to a file; its standard input ends with us."""
    with output.open("ab") as file:
        return subprocess.Popen(
            [*PENSTOCK, *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for(
    condition: Callable[[], bool], what: str, deadline_s: float, process: subprocess.Popen[bytes] | None = None
) -> None:
    """Return when ``condition`` holds; fail at the deadline, or when ``process`` ended before."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        assert process is None or process.poll() is None, f"the process ended ({process.returncode}) before: {what}"
        time.sleep(0.05)


def children(pid: int) -> dict[int, str]:
    """The command lines of a process's children, by process id (Linux)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, ValueError):
                continue
            if parent == pid:
                found[int(entry.name)] = command
    return found


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and all that it started, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
