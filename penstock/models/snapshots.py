"""When the online model is published. Outside the fold: it decides what is served, never what is learned."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from penstock.clock import Clock
from penstock.errors import ArtifactError
from penstock.models.artifact import ArtifactRef, ArtifactStore

_log = structlog.get_logger()

#: Examples between two moments at which a snapshot may be taken.
EVERY = 200
#: Moments before the first of those: a model that has learned little is better to serve than the prior.
EARLY = (25, 50, 100)
#: Share of the learner's elapsed time that snapshots may take.
SHARE = 0.02
#: How many of its own snapshots a publisher keeps: readers of the newest record must still find it.
KEEP = 8


class SnapshotPublisher(Protocol):
    """Decides whether this is a moment for a snapshot, and stores it."""

    def offer(self, learned: int, dump: Callable[[], bytes]) -> ArtifactRef | None:
        """Called after every learned example with the number learned so far.

        ``dump`` is called only if a snapshot is taken now; then the stored artifact's reference is returned.
        """
        ...


class _Kept:
    """The newest artifacts of one publisher; older ones are discarded from the store."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._uris: deque[str] = deque()

    def put(self, data: bytes) -> ArtifactRef:
        ref = self._artifacts.put(data)
        if ref.uri in self._uris:
            self._uris.remove(ref.uri)
        self._uris.append(ref.uri)
        if len(self._uris) > KEEP:
            self._artifacts.discard(self._uris.popleft())
        return ref


def is_moment(learned: int, every: int = EVERY) -> bool:
    """May a snapshot be taken after so many examples?"""
    return learned % every == 0 or (learned < every and learned in EARLY)


class EverySnapshot:
    """A snapshot at each early moment and every multiple of ``every`` examples: virtual time, which repeats exactly."""

    def __init__(self, artifacts: ArtifactStore, every: int = EVERY) -> None:
        self._kept = _Kept(artifacts)
        self._every = every

    def offer(self, learned: int, dump: Callable[[], bytes]) -> ArtifactRef | None:
        """See `SnapshotPublisher`."""
        return self._kept.put(dump()) if is_moment(learned, self._every) else None


class BudgetedSnapshots:
    """A snapshot at the next of the same moments that keeps snapshots under ``share`` of the elapsed time.

    The elapsed time counts from construction, by the monotonic clock; the next snapshot is expected to cost what the
    last one did. The first moment always gets its snapshot: until then only the prior is served. One that cannot be
    stored (a full disk) is left out, and learning goes on.
    """

    def __init__(self, artifacts: ArtifactStore, clock: Clock, every: int = EVERY, share: float = SHARE) -> None:
        self._kept = _Kept(artifacts)
        self._clock = clock
        self._every = every
        self._share = share
        self._started_s = clock.monotonic_s()
        self._spent_s = 0.0
        self._last_s: float | None = None

    def offer(self, learned: int, dump: Callable[[], bytes]) -> ArtifactRef | None:
        """See `SnapshotPublisher`."""
        if not is_moment(learned, self._every):
            return None
        before = self._clock.monotonic_s()
        allowed_s = self._share * (before - self._started_s)
        if self._last_s is not None and self._spent_s + self._last_s > allowed_s:
            return None
        try:
            ref = self._kept.put(dump())
        except ArtifactError as error:
            _log.error("snapshot not stored", why=str(error))
            ref = None
        self._last_s = self._clock.monotonic_s() - before
        self._spent_s += self._last_s
        return ref
