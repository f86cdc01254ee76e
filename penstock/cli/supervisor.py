"""All roles as child processes of one parent: started together, restarted when they crash, stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from penstock.cli.context import Context
from penstock.errors import DependencyError
from penstock.interrupts import deaf_children

logger = structlog.get_logger()

#: Roles that share a process. Scoring and learning cost most, so they are apart.
STREAM_GROUPS: tuple[tuple[str, ...], ...] = (
    ("scorer", "monitor", "incidents", "notifier"),
    ("joiner", "learner"),
    ("retrainer",),
)
#: The same roles in less memory: one worker. Enough where nobody waits for a score, as in a headless demo.
FRUGAL_GROUPS: tuple[tuple[str, ...], ...] = (
    ("scorer", "joiner", "learner", "monitor", "incidents", "notifier"),
    ("retrainer",),
)
SERVING_GROUP: tuple[str, ...] = ("serving",)

#: Works on one partition: a second process of it would only stand by.
SINGLE = "retrainer"

STOP_TIMEOUT_S = 15.0
#: A child that crashes more often than this, each time soon after its start, has a fault that a restart does not mend.
MOST_CRASHES = 5
SOON_S = 30.0


def several(groups: Sequence[tuple[str, ...]], workers: int) -> list[tuple[str, ...]]:
    """``groups``, each so many times; the retrainer's once."""
    return [group for group in groups for _ in range(1 if SINGLE in group else workers)]


@dataclass(slots=True)
class _Child:
    roles: tuple[str, ...]
    process: subprocess.Popen[bytes]
    started_s: float = field(default_factory=time.monotonic)
    crashes: int = 0


class Supervisor:
    """Owns the children. ``check`` restarts crashed ones; an exit with code 2 or 3, or crash after crash, is final.

    Children watch their standard input: when the parent goes away, however it does, they stop by themselves. They do
    not hear the terminal's Ctrl-C, which goes to all processes at once: the parent does, and stops them in good order.
    """

    def __init__(self, context: Context, groups: Sequence[tuple[str, ...]], options: Sequence[str] = ()) -> None:
        """Start a process per group of roles, each with ``options`` of `penstock run`."""
        self._context = context
        self._options = tuple(options)
        self._children = [_Child(roles, self._start(roles)) for roles in groups]

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pids(self) -> list[int]:
        """Process ids of the children that run now."""
        return [child.process.pid for child in self._children if child.process.poll() is None]

    def check(self) -> None:
        """Restart what crashed.

        Raises:
            DependencyError: a child cannot run here (its own last line says why).
        """
        for child in self._children:
            code = child.process.poll()
            if code is None:
                continue
            child.crashes = child.crashes + 1 if time.monotonic() - child.started_s < SOON_S else 1
            roles = " ".join(child.roles)
            if code in (2, 3):
                raise DependencyError(f"{roles}: stopped with exit code {code}; its log lines above say why")
            if child.crashes > MOST_CRASHES:
                raise DependencyError(
                    f"{roles}: ended {child.crashes} times in a row within {SOON_S:.0f} s of its start, "
                    f"at last {_how(code)}; its log lines above say why"
                )
            logger.warning("restarting", roles=roles, ended=_how(code))
            child.process, child.started_s = self._start(child.roles), time.monotonic()

    def stop(self) -> None:
        """Ask all to stop, wait, and kill what does not. Idempotent."""
        for child in self._children:
            if child.process.stdin is not None:
                child.process.stdin.close()
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    def _start(self, roles: tuple[str, ...]) -> subprocess.Popen[bytes]:
        context = self._context
        command = [
            *(sys.executable, "-m", "penstock"),
            *("--pipeline", str(context.pipeline_file()), "--data-dir", str(context.data_dir)),
            *("--log", context.settings.log, "run", *roles, "--follow-parent", *self._options),
        ]
        settings = context.settings
        passed_on = {"PENSTOCK_SNAPSHOT_SHARE": str(settings.snapshot_share), "PENSTOCK_LOG_LEVEL": settings.log_level}
        environment = {**os.environ, **passed_on}
        with deaf_children():
            return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)  # noqa: S603 - our own command line


def _how(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
