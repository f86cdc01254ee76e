"""A copy of the online model that has stopped learning: it competes and serves as a batch model does.

Its artifact is a snapshot of a committee behind a mark, so it is read by the same restricted unpickler (decision 0005).
"""

from __future__ import annotations

from collections.abc import Sequence

from online import snapshot
from online.committee import Committee
from penstock.events import Features, Score
from penstock.spec import Pipeline

MAGIC = b"penstock-frozen-1\n"


class FrozenCommittee:
    """A committee that only scores.

    What the newest outcomes were (`online.recency`) is forgotten: nobody will tell a frozen model about later ones, and
    those of the past would be taken for the newest for ever.
    """

    def __init__(self, committee: Committee) -> None:
        committee.forget_recent()
        self.committee = committee

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """One score per row, in order (see the model port)."""
        return self.committee.score_many(rows)


def dump(model: FrozenCommittee) -> bytes:
    """The model's artifact."""
    return MAGIC + snapshot.dump(model.committee)


def load(pipeline: Pipeline, data: bytes) -> FrozenCommittee:
    """The model of an artifact whose digest and signature were already checked.

    Raises:
        ArtifactError: the bytes are not a snapshot, have another format, or are of another pipeline's shape.
    """
    return FrozenCommittee(snapshot.load(pipeline, data.removeprefix(MAGIC)))
