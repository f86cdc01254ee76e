"""Which snapshot a copy of the online model starts from, what it learns, and how it is stored."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from online import snapshot
from online.batch import dump_batch, load_batch
from online.committee import Committee
from online.frozen import MAGIC, FrozenCommittee
from online.loading import model_loader
from online.recency import LAG_LIMIT
from penstock.clock import VirtualClock
from penstock.errors import ArtifactError
from penstock.events import ModelRecord, encode
from penstock.log.memory import MemoryLog
from penstock.log.port import Message, TopicConfig
from penstock.models import pickles
from penstock.models.artifact import MemoryArtifacts, Signer
from retraining.dataset import Row
from retraining.warm_start import Base, base_record, continued, newest_base, recorded_base
from tests.unit.retraining.test_candidates import made

PIPELINE, ROWS = made("binary", 300)


def placed(first_offset: int, count: int, partition: int = 0) -> list[Row]:
    return [row._replace(partition=partition, offset=first_offset + index) for index, row in enumerate(ROWS[:count])]


def learned(rows: Sequence[Row]) -> Committee:
    committee = Committee(PIPELINE)
    for row in rows:
        committee.learn_one(row.features, row.outcome)
    return committee


class Store:
    """A log with records of snapshots, and their artifacts."""

    def __init__(self) -> None:
        self.log = MemoryLog(VirtualClock(), [TopicConfig("models", 1)])
        self.artifacts = MemoryArtifacts(Signer(b"k" * 16))

    def publish(self, offset: int, slot: str = "online-0", data: bytes | None = None) -> ModelRecord:
        ref = self.artifacts.put(data or snapshot.dump(learned(ROWS[: offset % 50 + 1])))
        record = ModelRecord(
            slot=slot, version="online", kind="online", generation=0, snapshot=offset + 1, offset=offset,
            uri=ref.uri, digest=ref.digest, signature=ref.signature,
        )  # fmt: skip
        self.log.append([Message("models", slot.encode(), encode(record))])
        return record

    def newest(self, earlier: Sequence[Row], later: Sequence[Row]) -> ModelRecord | str:
        base = newest_base(PIPELINE, self.log, self.artifacts, earlier, later)
        return base if isinstance(base, str) else base.record


EARLIER, LATER = placed(1000, 70), placed(1070, 30)


def test_the_newest_snapshot_from_before_the_data_is_taken() -> None:
    store = Store()
    held = [store.publish(offset) for offset in (800, 999, 1040, 1099, 1200)]
    assert store.newest(EARLIER, LATER) == held[1]


def test_else_the_oldest_that_has_learned_no_row_to_compare_on() -> None:
    store = Store()
    held = [store.publish(offset) for offset in (1010, 1069, 1070)]
    assert store.newest(EARLIER, LATER) == held[0]


def test_without_any_there_is_no_copy() -> None:
    assert Store().newest(EARLIER, LATER) == "no snapshot of the online model is kept"


def test_where_all_are_too_new_the_copy_starts_with_nothing() -> None:
    store = Store()
    for offset in (1070, 1200):
        store.publish(offset)
    base = newest_base(PIPELINE, store.log, store.artifacts, EARLIER, LATER)
    assert isinstance(base, Base)
    assert base.why == "no kept snapshot of the online model is older than the rows to compare on"
    copy = continued(PIPELINE, base, EARLIER)
    assert copy.committee.learned == len(EARLIER)
    assert dump_batch(continued(PIPELINE, base, EARLIER)) == dump_batch(copy)
    again = recorded_base(PIPELINE, store.artifacts, base.settings)
    assert dump_batch(continued(PIPELINE, again, EARLIER)) == dump_batch(copy)


def test_a_snapshot_of_another_partition_has_learned_other_rows() -> None:
    store = Store()
    record = store.publish(1080, "online-1")
    assert store.newest(EARLIER, LATER) == record


def test_snapshots_that_are_gone_or_do_not_fit_are_passed_over() -> None:
    store = Store()
    good, gone = store.publish(700), store.publish(990)
    store.publish(995, data=b"no snapshot")
    store.artifacts.discard(gone.uri)
    assert store.newest(EARLIER, LATER) == good
    store.artifacts.discard(good.uri)
    assert str(store.newest(EARLIER, LATER)).startswith("no snapshot of the online model that is old enough can be")


def test_records_that_do_not_decode_are_no_snapshots() -> None:
    store = Store()
    record = store.publish(900)
    store.log.append([Message("models", b"online-0", b"{")])
    assert store.newest(EARLIER, LATER) == record


def test_the_copy_learns_each_row_once_and_then_no_more() -> None:
    known, fresh = placed(0, 100), placed(60, 140)
    base = Base(Store().publish(99), snapshot.dump(learned(known)))
    copy = continued(PIPELINE, base, fresh)
    assert copy.committee.learned == 200
    by_hand = learned(known)
    for row in fresh[40:]:
        by_hand.learn_one(row.features, row.outcome, LAG_LIMIT + 1)
    by_hand.forget_recent()
    features = [row.features for row in ROWS[200:]]
    assert copy.score_many(features) == by_hand.score_many(features)
    assert dump_batch(continued(PIPELINE, base, fresh)) == dump_batch(copy)


def test_a_frozen_copy_does_not_know_the_newest_outcomes() -> None:
    rows = [row._replace(outcome="1" if at >= 200 else "0") for at, row in enumerate(ROWS)]
    committee = learned(rows)
    features = [rows[0].features]
    before = committee.score_many(features)
    frozen = FrozenCommittee(committee)
    assert frozen.score_many(features) != before
    assert frozen.score_many(features) == frozen.score_many(features)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_its_artifact_is_read_as_that_of_any_batch_model(task: str) -> None:
    pipeline, rows = made(task, 120)  # type: ignore[arg-type]
    committee = Committee(pipeline)
    for row in rows[:100]:
        committee.learn_one(row.features, row.outcome)
    frozen, features = FrozenCommittee(committee), [row.features for row in rows[100:]]
    data = dump_batch(frozen)
    again = model_loader(pipeline)("batch", data)
    assert again.score_many(features) == frozen.score_many(features)
    assert isinstance(again, FrozenCommittee)
    assert [again.score_many([row])[0] for row in features] == again.score_many(features)


def test_an_artifact_that_is_not_one_is_refused() -> None:
    for data in (MAGIC, MAGIC + b"x", MAGIC + pickles.dumps(("a", 1)), MAGIC + b"cos\nsystem\n(S'true'\ntR."):
        with pytest.raises(ArtifactError):
            load_batch(PIPELINE, data)
    other, _ = made("regression", 10)
    with pytest.raises(ArtifactError, match="not those of the pipeline"):
        load_batch(other, dump_batch(FrozenCommittee(learned(ROWS[:10]))))


def test_a_base_is_found_again_by_what_was_recorded() -> None:
    record = Store().publish(99)
    again = base_record(Base(record, b"").settings)
    assert again == record
    with pytest.raises(ArtifactError, match="is not recorded"):
        base_record({"slot": "online-0", "offset": "x"})
