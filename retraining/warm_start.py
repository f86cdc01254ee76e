"""The candidate that is no stranger: a copy of the online model that goes on learning over the rows, then is frozen.

The online model of today has learned the very rows that candidates are compared on, so no copy of it may compete. An
older snapshot may: the newest one that was taken before the data begins, else the oldest that has learned none of the
rows to compare on. Where all that are kept are too new, the copy begins as the online model once did, with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, cast

import msgspec

from online import snapshot
from online.committee import Committee
from online.frozen import FrozenCommittee
from online.recency import LAG_LIMIT
from penstock.contract import decoder_for
from penstock.errors import ArtifactError, PenstockError
from penstock.events import ModelRecord
from penstock.log.port import Log, TopicPartition
from penstock.models.artifact import ArtifactStore
from penstock.models.slot import ONLINE
from penstock.runtime.ranges import read_range
from penstock.spec import Pipeline
from retraining.dataset import Row
from retraining.families import Settings

#: The candidate's name.
ONLINE_COPY = "online_copy"
#: The newest rows that it learns; more would say little more, and cost seconds.
MOST_ROWS = 5000
#: The slot of what is no snapshot: a model that has learned nothing.
UNTRAINED = "untrained"


class Base(NamedTuple):
    """The record of a snapshot of the online model, and its verified bytes. ``why`` it is `UNTRAINED`, if it is."""

    record: ModelRecord
    data: bytes
    why: str = ""

    @property
    def settings(self) -> Settings:
        """What names the snapshot in the log."""
        record = self.record
        return {
            "slot": record.slot,
            "snapshot": record.snapshot,
            "offset": record.offset,
            "uri": record.uri,
            "digest": record.digest,
            "signature": record.signature,
        }


#: The base of a copy for these rows to fit and these later ones to compare on; or, in a word, why there is none.
BaseSource: TypeAlias = Callable[[Sequence[Row], Sequence[Row]], "Base | str"]


def no_base(_earlier: Sequence[Row], _later: Sequence[Row]) -> Base | str:
    """Where snapshots are out of reach."""
    return "no snapshot of the online model is at hand"


def newest_base(
    pipeline: Pipeline, log: Log, artifacts: ArtifactStore, earlier: Sequence[Row], later: Sequence[Row]
) -> Base | str:
    """A `BaseSource` over the records of ``models`` that the log still holds.

    Raises:
        LogUnavailableError: a retry may succeed.
    """
    kept = _snapshots(pipeline, log)
    usable = [record for record in kept if _untouched(record, later)]
    if not kept:
        return "no snapshot of the online model is kept"
    if not usable:
        return untrained(pipeline, "no kept snapshot of the online model is older than the rows to compare on")
    before = [record for record in usable if _untouched(record, earlier)]
    after = [record for record in reversed(usable) if record not in before]
    why = ""
    for record in [*before, *after]:
        try:
            data = artifacts.get(record.uri, record.digest, record.signature)
            snapshot.load(pipeline, data)
        except ArtifactError as error:
            why = str(error)
            continue
        return Base(record, data)
    return f"no snapshot of the online model that is old enough can be loaded: {why}"


def untrained(pipeline: Pipeline, why: str = "") -> Base:
    """What a copy starts from that has learned nothing."""
    record = ModelRecord(slot=UNTRAINED, version=ONLINE, kind="online", generation=0)
    return Base(record, snapshot.dump(Committee(pipeline)), why)


def recorded_base(pipeline: Pipeline, artifacts: ArtifactStore, settings: Settings) -> Base:
    """What `Base.settings` named.

    Raises:
        ArtifactError: it was not recorded, or the snapshot is not what was recorded.
    """
    record = base_record(settings)
    if record.slot == UNTRAINED:
        return untrained(pipeline)
    return Base(record, artifacts.get(record.uri, record.digest, record.signature))


def _snapshots(pipeline: Pipeline, log: Log) -> list[ModelRecord]:
    """Records of snapshots, the newest first."""
    decode, where = decoder_for("models", pipeline), TopicPartition("models", 0)
    found = []
    for each in read_range(log, where, *log.bounds(where)):
        try:
            record = cast(ModelRecord, decode(each.value))
        except PenstockError:
            continue
        if record.slot.startswith(f"{ONLINE}-") and record.uri:
            found.append(record)
    return sorted(found, key=lambda record: (-record.offset, record.slot))


def _untouched(record: ModelRecord, rows: Sequence[Row]) -> bool:
    """Has the snapshot learned none of ``rows``?"""
    partition = partition_of(record)
    return all(row.partition != partition or row.offset > record.offset for row in rows)


def partition_of(record: ModelRecord) -> int:
    """The partition whose examples the snapshot of ``record`` has learned; -1: it is `UNTRAINED`."""
    return -1 if record.slot == UNTRAINED else int(record.slot.removeprefix(f"{ONLINE}-"))


def base_record(settings: Settings) -> ModelRecord:
    """The record of the snapshot that `Base.settings` named.

    Raises:
        ArtifactError: ``settings`` are not those of a base.
    """
    try:
        return msgspec.convert({"version": ONLINE, "kind": "online", "generation": 0, **settings}, ModelRecord)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"the snapshot that {ONLINE_COPY} started from is not recorded: {error}") from error


def continued(pipeline: Pipeline, base: Base, rows: Sequence[Row]) -> FrozenCommittee:
    """The snapshot after it has learned the newest of those ``rows`` that it had not learned, in their order.

    It learns without being told what the newest outcomes were, as it will have to score (see `online.recency`).

    Raises:
        ArtifactError: the snapshot does not load or does not fit the pipeline.
    """
    committee = snapshot.load(pipeline, base.data)
    partition, offset = partition_of(base.record), base.record.offset
    fresh = [row for row in rows if row.partition != partition or row.offset > offset]
    for row in fresh[-MOST_ROWS:]:
        committee.learn_one(row.features, row.outcome, LAG_LIMIT + 1)
    return FrozenCommittee(committee)
