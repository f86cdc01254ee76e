"""Which alerts people have not been told of yet: a fold of ``alerts`` and ``notifications``, in whatever order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from penstock.events import Alert, Notification

#: Alerts that wait at most; beyond, the oldest are left out. What is sent in a storm is a digest anyway.
MOST_WAITING = 1000
#: Alerts of which it is known that they were settled. One that is repeated after so many others is told again.
REMEMBERED = 100_000


class Waiting(NamedTuple):
    """An alert of which somebody is still to be told. ``raised_ms``: when it was appended to the log."""

    alert: Alert
    raised_ms: int


class Outbox:
    """Each alert once, by its id, until a notification settles it."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._told: dict[str, set[str]] = {}
        self._done: dict[str, None] = {}

    def raise_(self, alert: Alert, raised_ms: int) -> None:
        """Take an alert in, unless one of its id came before."""
        if alert.id in self._waiting or alert.id in self._done:
            return
        self._waiting[alert.id] = Waiting(alert, raised_ms)
        while len(self._waiting) > MOST_WAITING:
            self._settle([next(iter(self._waiting))])

    def settle(self, notification: Notification) -> None:
        """Take into account who was told, and what is settled. Repeats change nothing."""
        if notification.target:
            for identity in notification.alerts:
                if identity not in self._done:
                    self._told.setdefault(identity, set()).add(notification.target)
        self._settle(notification.settled)

    def _settle(self, identities: Iterable[str]) -> None:
        for identity in identities:
            self._waiting.pop(identity, None)
            self._told.pop(identity, None)
            self._done[identity] = None
        while len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]

    @property
    def waiting(self) -> list[Waiting]:
        """What is not settled, the oldest first."""
        return list(self._waiting.values())

    def told(self, identity: str) -> frozenset[str]:
        """The targets that were told of an alert that is not settled."""
        return frozenset(self._told.get(identity, ()))
