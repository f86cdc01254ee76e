"""A Dask cluster of real processes, and tasks that a test lets its workers run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.system.processes import wait_for

ROOT = Path(__file__).parents[2]


def held(folder: Path, item: int) -> int:
    """Says by a file in which process it runs, and waits for the file ``go``."""
    (folder / f"{item}-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.02)
    return item * item


def deadly(folder: Path, _: int) -> None:
    """Kills every worker that it runs on."""
    (folder / f"dead-{os.getpid()}").touch()
    os.kill(os.getpid(), 9)


def faulty(_: Path, item: int) -> None:
    """What an estimator raises on data that it cannot learn from."""
    raise ValueError(f"cannot learn from {item}")


def pids(folder: Path) -> set[int]:
    """Where `held` runs."""
    return {int(path.name.partition("-")[2]) for path in folder.iterdir() if "-" in path.name}


class FitCluster:
    """A Dask scheduler on a free port, and workers with one thread each and no nanny."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.setting = f"dask://127.0.0.1:{self.port}"
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler: subprocess.Popen[bytes] | None = None

    def start(self, workers: int) -> None:
        """Start the scheduler and so many workers, and return when they know each other."""
        host = ("--host", "127.0.0.1", "--port", str(self.port))
        self.scheduler = self._started("distributed.cli.dask_scheduler", *host, PYTHONPATH=str(ROOT))
        wait_for(self._listens, "the scheduler", 60, self.scheduler)
        for _ in range(workers):
            self.add_worker()
        if workers:
            self.wait_for_workers(workers)

    def add_worker(self, pythonpath: str = str(ROOT)) -> subprocess.Popen[bytes]:
        """One more worker; it may take a second or two until it is there."""
        options = ("--no-nanny", "--nthreads", "1", "--host", "127.0.0.1")
        worker = self._started("distributed.cli.dask_worker", self.address, *options, PYTHONPATH=pythonpath)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self, count: int) -> None:
        from distributed import Client

        with Client(self.address, timeout=30, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(count, timeout=60)

    def stop(self) -> None:
        for process in (*self.workers, *([self.scheduler] if self.scheduler else [])):
            process.kill()
            process.wait()

    def _started(self, module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / "cluster.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments, "--no-dashboard"],
                cwd=self.folder,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
