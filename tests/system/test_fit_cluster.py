"""Fits on a real Dask cluster of two worker processes: the same bits as here, and nothing lost when it breaks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from online.batch import dump_batch
from penstock.errors import ClusterError
from penstock.spec import Task
from retraining.backend import fit_backend, spread
from retraining.candidates import fit_candidates
from tests.system import fit_tasks
from tests.system.fit_tasks import FitCluster
from tests.system.log_reader import LogReader
from tests.system.processes import kill_session, penstock, start, wait_for
from tests.unit.retraining.test_candidates import made

pytest.importorskip("distributed")
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FitCluster]:
    """Two workers that no test hurts."""
    started = FitCluster(tmp_path_factory.mktemp("cluster"))
    try:
        started.start(workers=2)
        yield started
    finally:
        started.stop()


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[FitCluster]:
    """A cluster of one test's own, not started."""
    made = FitCluster(tmp_path)
    try:
        yield made
    finally:
        made.stop()


class Asked:
    """`spread` of a task over ``folder`` in a thread of its own."""

    def __init__(self, cluster: FitCluster, folder: Path, task: Callable[[Path, int], Any], count: int) -> None:
        self.folder = folder
        self.result: object = None
        folder.mkdir()

        def body() -> None:
            try:
                with fit_backend(cluster.setting)(folder):
                    self.result = spread(task, folder, range(count))
            except Exception as error:  # noqa: BLE001 - looked at by the test
                self.result = error

        self.thread = threading.Thread(target=body, daemon=True)
        self.thread.start()

    def wait_until_running_on(self, workers: int) -> set[int]:
        wait_for(lambda: len(fit_tasks.pids(self.folder)) >= workers or not self.thread.is_alive(), "tasks", 60)
        return fit_tasks.pids(self.folder)

    def end(self, within_s: float) -> object:
        self.thread.join(within_s)
        assert not self.thread.is_alive(), f"not done within {within_s} s"
        return self.result


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_two_workers_give_the_same_bits_as_this_process(cluster: FitCluster, task: Task) -> None:
    pipeline, rows = made(task, 800)
    here = fit_candidates(pipeline, rows[:600])
    there = fit_candidates(pipeline, rows[:600], fit_backend(cluster.setting))
    assert [candidate.settings for candidate in there] == [candidate.settings for candidate in here]
    assert [dump_batch(candidate.model) for candidate in there] == [dump_batch(candidate.model) for candidate in here]
    features = [row.features for row in rows[600:]]
    assert [candidate.model.score_many(features) for candidate in there] == [
        candidate.model.score_many(features) for candidate in here
    ]


def test_both_workers_work_and_each_on_one_thread(cluster: FitCluster, tmp_path: Path) -> None:
    asked = Asked(cluster, tmp_path / "tasks", fit_tasks.held, 4)
    running = asked.wait_until_running_on(2)
    assert running == {worker.pid for worker in cluster.workers}
    (tmp_path / "tasks" / "go").touch()
    assert asked.end(30) == [0, 1, 4, 9]


def test_a_tasks_own_error_is_raised_here(cluster: FitCluster, tmp_path: Path) -> None:
    asked = Asked(cluster, tmp_path / "tasks", fit_tasks.faulty, 2)
    error = asked.end(30)
    assert isinstance(error, ValueError)
    assert str(error) == "cannot learn from 0"
    assert "on worker" in error.__notes__[0]


def test_a_worker_with_other_versions_is_refused(cluster: FitCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    import retraining.cluster as module

    monkeypatch.setattr(module, "library_versions", lambda: {"python": "3.11", "numpy": "1.0"})
    pipeline, rows = made("binary", 300)
    with pytest.raises(ClusterError, match=r"numpy \S+ instead of 1\.0; install equal versions"):
        fit_candidates(pipeline, rows, fit_backend(cluster.setting))


def test_a_worker_killed_in_the_middle_of_a_fit_changes_nothing(fragile: FitCluster) -> None:
    from distributed import Client

    fragile.start(workers=2)
    pipeline, rows = made("binary", 3000)
    here = fit_candidates(pipeline, rows)
    there: list[Any] = []
    fit = threading.Thread(
        target=lambda: there.extend(fit_candidates(pipeline, rows, fit_backend(fragile.setting))), daemon=True
    )
    victim = fragile.workers[0]
    with Client(fragile.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        identity = client.run(os.getpid)
        address = next(address for address, pid in identity.items() if pid == victim.pid)
        fit.start()
        wait_for(lambda: bool(client.processing().get(address)), "a fit on the worker", 60)
    victim.kill()
    fit.join(120)
    assert [dump_batch(candidate.model) for candidate in there] == [dump_batch(candidate.model) for candidate in here]


def test_its_tasks_go_to_the_worker_that_is_left(fragile: FitCluster, tmp_path: Path) -> None:
    fragile.start(workers=2)
    asked = Asked(fragile, tmp_path / "tasks", fit_tasks.held, 4)
    asked.wait_until_running_on(2)
    fragile.workers[0].kill()
    (tmp_path / "tasks" / "go").touch()
    assert asked.end(60) == [0, 1, 4, 9]


def test_no_scheduler_is_one_clear_line(fragile: FitCluster) -> None:
    pipeline, rows = made("binary", 300)
    with pytest.raises(ClusterError, match=f"tcp://127.0.0.1:{fragile.port}: no Dask scheduler answers there"):
        fit_candidates(pipeline, rows, fit_backend(fragile.setting))


def test_a_scheduler_without_workers_is_one_clear_line(fragile: FitCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retraining.cluster.WITHOUT_WORKERS_S", 1.0)
    fragile.start(workers=0)
    pipeline, rows = made("binary", 300)
    with pytest.raises(ClusterError, match="has no worker; start `dask worker"):
        fit_candidates(pipeline, rows, fit_backend(fragile.setting))


def test_a_scheduler_that_dies_ends_the_fit(fragile: FitCluster, tmp_path: Path) -> None:
    fragile.start(workers=2)
    asked = Asked(fragile, tmp_path / "tasks", fit_tasks.held, 4)
    asked.wait_until_running_on(2)
    assert fragile.scheduler is not None
    fragile.scheduler.kill()
    error = asked.end(30)
    assert isinstance(error, ClusterError)
    assert "\n" not in str(error)


@pytest.mark.parametrize("come_back", [False, True], ids=["for good", "and another comes"])
def test_a_cluster_that_loses_all_workers_ends_the_fit(
    fragile: FitCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, come_back: bool
) -> None:
    monkeypatch.setattr("retraining.cluster.WITHOUT_WORKERS_S", 60.0 if come_back else 2.0)
    fragile.start(workers=2)
    asked = Asked(fragile, tmp_path / "tasks", fit_tasks.held, 4)
    asked.wait_until_running_on(2)
    for worker in fragile.workers:
        worker.kill()
    if come_back:
        (tmp_path / "tasks" / "go").touch()
        fragile.add_worker()
    result = asked.end(60)
    assert isinstance(result, ClusterError) or (come_back and result == [0, 1, 4, 9]), result


def test_a_task_that_kills_its_workers_is_given_up(
    fragile: FitCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    fragile.start(workers=2)
    error = Asked(fragile, tmp_path / "tasks", fit_tasks.deadly, 1).end(60)
    assert isinstance(error, ClusterError)
    assert "died while running it" in str(error)
    assert len(list((tmp_path / "tasks").iterdir())) == 1


def test_a_worker_without_penstock_is_one_clear_line(fragile: FitCluster, tmp_path: Path) -> None:
    (tmp_path / "retraining").mkdir()
    (tmp_path / "retraining" / "__init__.py").touch()
    fragile.start(workers=0)
    fragile.add_worker(pythonpath=str(tmp_path))
    fragile.wait_for_workers(1)
    pipeline, rows = made("binary", 300)
    with pytest.raises(ClusterError, match="broke off a fit"):
        fit_candidates(pipeline, rows, fit_backend(fragile.setting))


def clients_of(cluster: FitCluster) -> int:
    """How many clients its scheduler has beside this one."""
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        names: list[str] = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.clients))
        return len([name for name in names if name.startswith("Client-") and name != client.id])


def test_a_stop_in_the_middle_of_a_fit_is_quick_and_the_next_start_does_it(fragile: FitCluster, tmp_path: Path) -> None:
    fragile.start(workers=1)
    rows = 600
    lines = [f"{row * 37 % 101},{int((row * 37 % 101 > 50) != (row % 9 == 0))}" for row in range(rows)]
    (tmp_path / "cards.csv").write_text("\n".join(["amount,risky", *lines]) + "\n")
    made = penstock("init", "--from-csv", "cards.csv", "--target", "risky", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    spec = tmp_path / "pipelines" / "cards.py"
    small = spec.read_text().replace("Pipeline, Rows", "Pipeline, RetrainingPolicy, Rows")
    cheap = 'tier="light",\n    retraining=RetrainingPolicy(collect_rows=400, trials=2),'
    small = small.replace("\n    label_delay=", f"\n    {cheap}\n    label_delay=")
    spec.write_text(small)
    roles = ("run", "scorer", "joiner", "learner", "retrainer")
    output, settings = tmp_path / "roles.txt", {"PENSTOCK_FIT_BACKEND": fragile.setting}
    log = LogReader(tmp_path / ".penstock" / "log.db", "cards")
    first = start(*roles, cwd=tmp_path, output=output, **settings)
    second = None
    try:
        wait_for(lambda: "started" in output.read_text(), "the roles", 300, first)
        assert penstock("replay", "--data", "cards.csv", cwd=tmp_path).returncode == 0
        wait_for(lambda: log.count("examples") >= rows, "all examples", 300, first)
        for worker in fragile.workers:
            worker.send_signal(signal.SIGSTOP)
        assert penstock("retrain", cwd=tmp_path).returncode == 0
        wait_for(lambda: clients_of(fragile) == 1, "the fit on the cluster", 300, first)
        asked_s = time.monotonic()
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=60) == 0, output.read_text()
        took_s = time.monotonic() - asked_s
        assert "trained" not in [decision["step"] for decision in log.values("decisions")]
        for worker in fragile.workers:
            worker.send_signal(signal.SIGCONT)
        second = start("run", "retrainer", cwd=tmp_path, output=output, **settings)
        wait_for(lambda: "trained" in [decision["step"] for decision in log.values("decisions")], "a fit", 300, second)
    finally:
        for process in (first, second):
            if process is not None and process.poll() is None:
                kill_session(process)
    assert took_s < 10, took_s
