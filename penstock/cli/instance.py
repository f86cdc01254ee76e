"""Names of this process among those of its roles: the same after a restart, and never those of two that live.

A member is ``<role>-<installation>-<ordinal>``. The installation is a random name that the data directory keeps; the
ordinal is the lowest that no living process of that directory, pipeline and role has. So any number of processes on
any number of machines needs no configuration, and a process that was killed is followed by one of its own name, which
fences it at once instead of waiting for its session to end.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from penstock.errors import DependencyError
from penstock.models.blobs import create_once, reason_of

#: Holds the installation's name, in the data directory.
NAME_FILE = "installation.id"
#: Holds the locks of the ordinals, in the pipeline's folder of the data directory.
LOCKS_FOLDER = "instances"


@contextmanager
def member_names(
    data_dir: Path, pipeline: str, roles: Sequence[str], configured: str | None
) -> Iterator[Mapping[str, str]]:
    """The member name of each of ``roles``, taken until the end of the block or of the process, however it ends.

    ``configured`` (``PENSTOCK_INSTANCE``) stands for ``<installation>-<ordinal>`` where it is given; then nothing is
    taken, and whoever sets it sees to it that no two living processes of a role bear the same.

    Raises:
        DependencyError: the data directory cannot be written.
    """
    if configured is not None:
        yield {role: f"{role}-{configured}" for role in roles}
        return
    with ExitStack() as taken:
        try:
            installation = installation_name(data_dir)
            folder = data_dir / pipeline / LOCKS_FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            names = {role: f"{role}-{installation}-{_take_ordinal(folder, role, taken)}" for role in roles}
        except OSError as error:
            raise DependencyError(f"{data_dir}: cannot be used as the data directory ({reason_of(error)})") from error
        yield names


def installation_name(data_dir: Path) -> str:
    """The name that this data directory keeps; made on first use."""
    path = data_dir / NAME_FILE
    if not path.exists():
        create_once(path, secrets.token_hex(4).encode())
    name = path.read_text(encoding="ascii", errors="replace").strip()
    if not name.isalnum():
        raise DependencyError(f"{path}: damaged; delete it while nothing runs, and another is made")
    return name


def _take_ordinal(folder: Path, role: str, taken: ExitStack) -> int:
    """Lock the lowest free ordinal. A lock of the kernel ends with the process; its file stays, and is empty."""
    for ordinal in count():
        descriptor = os.open(folder / f"{role}-{ordinal}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        except BaseException:
            os.close(descriptor)
            raise
        taken.callback(os.close, descriptor)
        return ordinal
    raise AssertionError("count() does not end")
