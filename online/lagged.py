"""Quick members as they were when a row was scored: what the blend should weigh.

Rows are scored by a snapshot, which is up to hundreds of examples behind the learner, more where labels are late.
Linear models with a large rate follow their stream within tens of rows, so on streams whose neighbouring rows are alike
they look much better to the learner, which has just seen the rows before, than what was served of them is. So the blend
learns what a copy as old as the scorer's says in their place. Trees move slowly, and a copy of them costs too much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from copy import deepcopy

from online.pool import Member
from online.recency import LAG_LIMIT
from penstock.models.snapshots import is_moment

#: Members that are copied.
QUICK = ("linear_fast", "linear_slow", "additive")


class LaggedMembers:
    """Copies of the quick members, by index, at the moments at which snapshots may be taken."""

    def __init__(self) -> None:
        #: (examples learned, the members then), oldest first.
        self._copies: deque[tuple[int, dict[int, Member]]] = deque()
        self._lag: int = 0

    def at(self, learned: int, lag: int | None) -> Mapping[int, Member]:
        """The members ``lag`` examples ago (None: as many as before); none where that is now or not known."""
        if lag is not None:
            self._lag = lag
        if not 0 < self._lag <= LAG_LIMIT:
            return {}
        # Lags hardly ever grow: what is older than this row's copy is not asked for again.
        while len(self._copies) > 1 and self._copies[1][0] <= learned - self._lag:
            self._copies.popleft()
        return self._copies[0][1] if self._copies else {}

    def keep(self, learned: int, members: Mapping[int, Member]) -> None:
        """Copy ``members`` where a snapshot may be taken after so many examples."""
        if not is_moment(learned):
            return
        self._copies.append((learned, deepcopy(dict(members))))
        while self._copies[0][0] < learned - LAG_LIMIT:
            self._copies.popleft()
