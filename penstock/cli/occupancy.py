"""One supervisor per pipeline: two would displace each other's roles for ever."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import DependencyError


@contextmanager
def occupied(directory: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold ``directory`` against other supervisors, or only against those that want all of it (``shared``).

    A lock of the kernel on the directory itself: it ends with this process, however that ends, leaves no file behind,
    and is not handed on to children, so a successor need not wait for those of a killed parent.

    Raises:
        DependencyError: another one holds it.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DependencyError(
                f"{directory}: another `penstock up` or `penstock demo` is running here; "
                "stop it, or name another folder with --data-dir"
            ) from error
        yield
    finally:
        os.close(descriptor)
