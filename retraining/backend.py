"""Where fits run: in this process, or on the workers of a cluster; through joblib, with equal results, bit for bit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

from penstock.errors import DependencyError, UsageError

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Opens a place for tasks that share one object (sent there once); within it, `spread` runs them in that place.
#: Opening and `spread` raise ``ClusterError`` where the place is a cluster that cannot be used now.
FitBackend: TypeAlias = Callable[[object], AbstractContextManager[None]]

_DASK = re.compile(r"dask://([^/:]+|\[[0-9a-fA-F:]+\]):(\d{1,5})")


@contextmanager
def local(_shared: object) -> Iterator[None]:
    """One task after the other in this process, on one thread.

    Open it after the tasks' libraries were imported: only thread pools that are loaded by then are limited.
    """
    from joblib import parallel_config  # type: ignore[import-untyped]  # it has no stubs
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no stubs

    with parallel_config(backend="sequential"), threadpool_limits(limits=1):
        yield


def spread(task: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]) -> list[Result]:
    """``task(shared, item)`` of each item, in their order, where the open `FitBackend` runs it.

    ``shared`` is the object that the backend was opened with; ``task`` is a pure function at the top of a module,
    and all that goes in and out can be pickled. Whatever a task raises is raised here.

    Raises:
        ClusterError: the cluster cannot be used now; the same call may be repeated.
    """
    from joblib import Parallel, delayed

    run: Any = Parallel(batch_size=1, pre_dispatch="all")
    return list(run(delayed(task)(shared, item) for item in items))


def fit_backend(setting: str) -> FitBackend:
    """The backend that ``PENSTOCK_FIT_BACKEND`` names: ``local`` or ``dask://host:port``. Connects to nothing yet.

    Raises:
        UsageError: neither of them.
        DependencyError: a package for clusters is not installed.
    """
    if setting == "local":
        return local
    if not _DASK.fullmatch(setting):
        raise UsageError(f"PENSTOCK_FIT_BACKEND: {setting!r} is neither `local` nor `dask://host:port`")
    try:
        from retraining.cluster import dask_fits
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"PENSTOCK_FIT_BACKEND is {setting}, but the package {error.name} is missing: pip install penstock[cluster]"
        ) from error
    return partial(dask_fits, setting.replace("dask://", "tcp://"))
