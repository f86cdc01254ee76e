"""How a loop commits: at once, or while the next batch is being processed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol


class Commits(Protocol):
    """At most one commit is under way. One thread starts and finishes; ``finish`` comes before the next ``start``."""

    def start(self, commit: Callable[[], None]) -> None:
        """Begin ``commit``. What it raises may come from here or from ``finish``."""
        ...

    def ended(self) -> bool:
        """Whether ``finish`` would return at once."""
        ...

    def finish(self) -> None:
        """Wait for the commit that was begun, if any, and raise what it raised."""
        ...


class InlineCommits:
    """Commits where they are started. For logs whose commit is quick, and for virtual time."""

    def start(self, commit: Callable[[], None]) -> None:
        """See ``Commits.start``: it is over on return."""
        commit()

    def ended(self) -> bool:
        """See ``Commits.ended``: always."""
        return True

    def finish(self) -> None:
        """See ``Commits.finish``: nothing is under way."""


class BackgroundCommits:
    """Commits in a thread of its own: for logs across a network, where a commit is mostly waiting.

    The membership must allow a commit while its owner polls.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self._under_way: Future[None] | None = None

    def start(self, commit: Callable[[], None]) -> None:
        """See ``Commits.start``."""
        self._under_way = self._thread.submit(commit)

    def ended(self) -> bool:
        """See ``Commits.ended``."""
        return self._under_way is None or self._under_way.done()

    def finish(self) -> None:
        """See ``Commits.finish``."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()
