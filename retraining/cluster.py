"""Fits on the workers of a Dask cluster, as a backend of joblib.

joblib's own Dask backend never returns when a task fails outside its function (a worker that lacks a module, workers
killed again and again), and it runs everything here when the cluster has one core. This one raises, and runs it there.
"""

from __future__ import annotations

import io
import logging
import pickle
import platform
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import dask
from distributed import Client, Future
from joblib import parallel_config  # type: ignore[import-untyped]  # it has no stubs
from joblib.parallel import ParallelBackendBase, SequentialBackend  # type: ignore[import-untyped]

from penstock.errors import ClusterError

CONNECT_S = 5.0
CHECK_EVERY_S = 1.0
#: So long a cluster may be without any worker before a fit is given up, to be tried again later.
WITHOUT_WORKERS_S = 10.0
#: A model's bits depend on these.
_LIBRARIES = ("penstock", "river", "numpy", "scipy", "scikit-learn", "threadpoolctl", "joblib")


class Outcome(NamedTuple):
    """What came of a batch of tasks on a worker: ``refusal`` and ``error`` say why there are no ``values``."""

    values: list[Any]
    error: Exception | None = None
    refusal: str = ""


@contextmanager
def dask_fits(address: str, shared: object) -> Iterator[None]:
    """A `FitBackend` on the cluster whose scheduler listens on ``address`` (``tcp://host:port``).

    1. Connect. 2. Send ``shared`` to all workers, once. 3. Within the context joblib runs tasks there.
    4. Disconnect: the cluster drops what was not finished.

    Raises:
        ClusterError: no scheduler, no worker, another version on a worker, or the cluster broke off a task.
    """
    # What goes wrong is raised, in one line: Dask would log a stack trace beside it.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client: Any = Client(address, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{address}: no Dask scheduler answers there; start it, or check PENSTOCK_FIT_BACKEND"
        ) from (error)
    with client:
        try:
            client.wait_for_workers(1, timeout=WITHOUT_WORKERS_S)
            # A task, not scattered data: those are gone with the last worker that holds a copy, and Dask drops copies.
            # Named by chance, not by content: a name of an earlier, broken off fit is never met again.
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
                sent = client.submit(_same, pickle.dumps(shared), pure=False)
        except (OSError, RuntimeError, CancelledError) as error:
            raise ClusterError(f"{address}: the Dask cluster has no worker; start `dask worker {address}`") from error
        with parallel_config(backend=_DaskBackend(address, client, shared, sent)):
            yield


class _DaskBackend(ParallelBackendBase):  # type: ignore[misc]  # joblib's port; it has no stubs
    def __init__(self, address: str, client: Any, shared: object, sent: Future[bytes]) -> None:
        super().__init__()
        self._address = address
        self._client = client
        self._shared = shared
        self._sent = sent
        self._wanted = library_versions()

    def effective_n_jobs(self, n_jobs: int | None) -> int:  # noqa: ARG002 - joblib's port
        # Only a guess, as all tasks are sent at once; but where it is 1, joblib would run them in this process.
        return 2

    def get_nested_backend(self) -> tuple[Any, int | None]:
        # What is parallel inside an estimator stays within its task.
        return SequentialBackend(nesting_level=1), None

    def submit(self, func: Callable[[], list[Any]], callback: Callable[..., None] | None = None) -> Any:
        payload = _packed(func, self._shared)
        future = self._client.submit(_run_remotely, payload, self._sent, self._wanted, pure=False)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result(self, out: Future[Outcome], timeout: float | None = None) -> list[Any]:  # noqa: ARG002
        outcome = self._awaited(out)
        if outcome.refusal:
            raise ClusterError(f"{self._address}: {outcome.refusal}")
        if outcome.error is not None:
            raise outcome.error
        return outcome.values

    def _awaited(self, future: Future[Outcome]) -> Outcome:
        alone_s = 0.0
        while alone_s < WITHOUT_WORKERS_S:
            try:
                try:
                    return future.result(timeout=CHECK_EVERY_S)
                except TimeoutError:
                    alone_s = 0.0 if self._client.ncores() else alone_s + CHECK_EVERY_S
            except (Exception, CancelledError) as error:  # a task's own come as values: these are the cluster's
                why = " ".join(str(error).split()) or type(error).__name__
                raise ClusterError(f"{self._address}: the Dask cluster broke off a fit: {why}") from error
        raise ClusterError(f"{self._address}: the Dask cluster lost all its workers during a fit")


def library_versions() -> dict[str, str]:
    """The versions in this process that the bits of a fitted model depend on, and the architecture."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "architecture": platform.machine(),
        **{library: _version(library) for library in _LIBRARIES},
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _same(data: bytes) -> bytes:
    return data


def _run_remotely(payload: bytes, shared: bytes, wanted: Mapping[str, str]) -> Outcome:
    """Runs on a worker. 1. Compare versions. 2. Unpickle the calls, which imports what they need. 3. Run them."""
    here = library_versions()
    other = [f"{name} {here[name]} instead of {wanted[name]}" for name in sorted(wanted) if here[name] != wanted[name]]
    if other:
        return Outcome([], refusal=f"worker {platform.node()} has {', '.join(other)}; install equal versions there")
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no stubs

    try:
        calls = _unpacked(payload, pickle.loads(shared))  # noqa: S301 - clients of a cluster run what they like anyway
        # Not given back at the end: another thread of this worker may be in the middle of a fit.
        threadpool_limits(limits=1)
        return Outcome(calls())
    except Exception as error:  # noqa: BLE001 - raised where the fit was asked for
        error.add_note(f"on worker {platform.node()}: {traceback.format_exc()}")
        return Outcome([], error)


def _packed(calls: Callable[[], list[Any]], shared: object) -> bytes:
    """``calls`` pickled, with a placeholder wherever they hold ``shared``."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    pickler.persistent_id = lambda held: "shared" if held is shared else None  # type: ignore[method-assign]
    pickler.dump(calls)
    return file.getvalue()


def _unpacked(payload: bytes, shared: object) -> Callable[[], list[Any]]:
    unpickler = pickle.Unpickler(io.BytesIO(payload))  # noqa: S301 - see above
    unpickler.persistent_load = lambda _: shared  # type: ignore[method-assign]
    calls: Callable[[], list[Any]] = unpickler.load()
    return calls
