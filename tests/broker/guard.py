"""Ends a process when the one that started it is gone, even by SIGKILL."""

from __future__ import annotations

import subprocess


class Guard:
    """A shell of its own that waits on a pipe from here: the pipe's end, which nothing can prevent, ends ``pid``."""

    def __init__(self, pid: int) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", 'read -r word || kill -9 "$0"', str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """``pid`` has ended: kill nothing any more."""
        self._shell.communicate(b"dismissed\n")
