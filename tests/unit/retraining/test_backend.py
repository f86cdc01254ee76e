"""Which backend a setting names; what runs where, and what it needs to travel; a cluster that is away costs no run."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.errors import ClusterError, DependencyError, UsageError
from penstock.events import Alert, OutcomeCommand
from penstock.spec import load_pipeline
from retraining.backend import fit_backend, local, spread
from retraining.families import families

ROOT = Path(__file__).parents[3]


def scaled(shared: list[int], item: int) -> int:
    return shared[0] * item


def broken(shared: list[int], item: int) -> int:
    raise KeyError(item)


def test_local_runs_in_order_and_raises_what_the_task_raised() -> None:
    shared = [3]
    with local(shared):
        assert spread(scaled, shared, range(4)) == [0, 3, 6, 9]
        with pytest.raises(KeyError):
            spread(broken, shared, [1])


@pytest.mark.parametrize(
    "setting", ["", "dask", "ray", "dask://", "dask://host", "tcp://host:8786", "dask://host:x", "dask://a:1/b"]
)
def test_a_setting_that_names_no_backend_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="PENSTOCK_FIT_BACKEND"):
        fit_backend(setting)


def test_the_default_needs_no_package_for_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert fit_backend("local") is local


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "retraining.cluster", raising=False)
    with pytest.raises(DependencyError, match=r"distributed is missing: pip install penstock\[cluster\]") as caught:
        fit_backend("dask://localhost:8786")
    assert caught.value.exit_code == 3


def test_nothing_is_connected_to_before_a_fit() -> None:
    pytest.importorskip("distributed")
    assert callable(fit_backend("dask://localhost:1"))
    assert callable(fit_backend("dask://[::1]:8786"))


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_pipeline_and_its_tasks_travel_without_the_file_they_come_from(path: Path, tmp_path: Path) -> None:
    pipeline = load_pipeline(path)
    packed = tmp_path / "packed"
    packed.write_bytes(pickle.dumps((pipeline, families(pipeline))))
    script = (
        "import pathlib, pickle, sys\n"
        f"pipeline, families = pickle.loads(pathlib.Path({str(packed)!r}).read_bytes())\n"
        "assert not [name for name in sys.modules if name.startswith(('pipelines', 'penstock_pipeline'))]\n"
        "print(pipeline.state_digest(), [family.name for family in families])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{pipeline.state_digest()} {[family.name for family in families(pipeline)]}"


def test_a_call_travels_without_what_all_calls_share() -> None:
    pytest.importorskip("distributed")
    from joblib.parallel import BatchedCalls, SequentialBackend

    from retraining.cluster import _packed, _unpacked

    shared = list(range(100_000))
    calls = BatchedCalls([(scaled, (shared, 5), {})], (SequentialBackend(nesting_level=1), None))
    packed = _packed(calls, shared)
    assert len(packed) < 2000
    assert _unpacked(packed, [7])() == [35]


class Away:
    """A backend whose cluster is away for the first few fits."""

    def __init__(self, fits: int) -> None:
        self.left = fits

    @contextmanager
    def __call__(self, shared: object) -> Iterator[None]:
        self.left -= 1
        if self.left >= 0:
            raise ClusterError("tcp://h:1: no Dask scheduler answers there")
        with local(shared):
            yield


def test_a_fit_waits_for_its_cluster_and_says_so_once(new_world: Callable[..., Any]) -> None:
    world = new_world()
    world.advance(2300)
    world.drift(since_row=2000)
    world.runner.step = lambda: False
    world.advance(3600)
    runner = world.new_runner()
    runner._backend = Away(2)
    waits = []
    while not world.commands():
        if not runner.step():
            assert runner.busy
            waits.append(runner._not_before_s - world.clock.monotonic_s())
            assert not runner.step()
            world.clock.advance_to_ms(world.clock.now_ms() + 2000)
    assert waits == [1.0, 2.0]
    (alert,) = [msgspec.json.decode(value, type=Alert) for value in world._values("alerts") if b"-waits" in value]
    assert alert.detail == "tcp://h:1: no Dask scheduler answers there"
    (outcome,) = world.commands()
    assert isinstance(outcome, OutcomeCommand)
    assert outcome.error == ""
    assert outcome.winner == "gradient_boosting"
