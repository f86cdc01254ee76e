"""One broker for all processes of a test run: who needs it holds a lease; it stops when nobody does.

1. A process that wants the broker holds a shared lock on ``users`` as long as it lives (the kernel drops it).
2. The first one starts a keeper (``python -m tests.broker.keeper``), which starts the broker and writes ``bootstrap``.
3. The keeper waits for an exclusive lock on ``users``: it has it when the last user is gone, however that ended.
4. It stops the broker while it holds the lock, so that a late user waits and starts another.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.broker import docker, jars
from tests.broker.jars import NoBrokerError
from tests.broker.java import answers

#: A first run downloads jars or an image.
KEEPER_TIMEOUT_S = 600.0


class Kafka(NamedTuple):
    """A broker that others may use at the same time: name your pipeline uniquely, never stop it."""

    bootstrap: str


@contextmanager
def lease(folder: Path) -> Generator[Kafka]:
    """The run's broker, started if need be; ``folder`` is common to the processes of the run.

    Raises:
        NoBrokerError: this machine cannot run one.
        RuntimeError: it did not start.
    """
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield Kafka(given)
        return
    lacking = jars.missing()
    if lacking is not None and not docker.engine_answers():
        raise NoBrokerError(
            f"{lacking}; or start a Docker engine; or set KAFKA_BOOTSTRAP_SERVERS to a broker of version 4"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("a") as users, (folder / "start").open("a") as start:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(start, fcntl.LOCK_EX)
        try:
            if not _is_up(folder):
                _start_keeper(folder)
        finally:
            fcntl.flock(start, fcntl.LOCK_UN)
        yield Kafka((folder / "bootstrap").read_text())


def _is_up(folder: Path) -> bool:
    known = folder / "bootstrap"
    return known.is_file() and answers(known.read_text())


def _start_keeper(folder: Path) -> None:
    known = folder / "bootstrap"
    known.unlink(missing_ok=True)
    with (folder / "keeper.log").open("wb") as said:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.broker.keeper", str(folder)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + KEEPER_TIMEOUT_S
    while not known.is_file():
        if keeper.poll() is not None or time.monotonic() > deadline:
            lines = (folder / "keeper.log").read_text().splitlines() or ["it said nothing"]
            raise (NoBrokerError if keeper.returncode == 3 else RuntimeError)(lines[-1])
        time.sleep(0.05)
