from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import FencedError, LogError, LogUnavailableError
from penstock.log import librdkafka_commits
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_catalog import Catalog
from penstock.log.librdkafka_commits import MemberCommits
from penstock.log.librdkafka_place import GroupPlace, Seat
from penstock.log.librdkafka_transactions import GroupMovedOnError
from penstock.log.port import Message, TopicPartition

PLACE = TopicPartition("in", 0)
OUTPUTS = [Message("out", None, b"x", 0)]


class Transactions:
    """Plays what each run and each finish is told to do."""

    def __init__(self, *_: object) -> None:
        self.runs: list[Any] = []
        self.script: list[Exception | None] = []
        self.unfinished = self.fenced = False
        self.outcome = "committed"

    def start(self) -> None:
        """Nothing to fence."""

    def run(self, _targets: object, _outputs: object, _ends: object, metadata: Any) -> None:
        self.runs.append(metadata)
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error

    def finish(self) -> str:
        self.unfinished = False
        return self.outcome


class Consumer:
    """Its generation grows whenever it is asked."""

    def __init__(self) -> None:
        self.generation, self.member_id = 0, "id"

    def memberid(self) -> str:
        return self.member_id

    def consumer_group_metadata(self) -> int:
        self.generation += 1
        return self.generation


class Bench:
    def __init__(self) -> None:
        options = KafkaOptions(bootstrap="a:1", pipeline="p", request_timeout_ms=200)
        catalog = Catalog(options)
        catalog._counts.update({"in": 1, "out": 1})
        self.place, self.owned = GroupPlace(), {PLACE}
        self.place.sit("id")
        self.consumer: Any = Consumer()
        self.commits = MemberCommits(Seat(options, "g", ("in",), "m"), catalog, self.place, self.owned.__contains__)
        self.transactions: Any = self.commits._transactions

    def commit(self, offset: int = 1) -> None:
        self.commits.commit(self.consumer, OUTPUTS, {PLACE: offset})


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(librdkafka_commits, "Transactions", Transactions)
    return Bench()


def test_a_group_that_moved_on_is_tried_again_with_newer_metadata(bench: Bench) -> None:
    bench.transactions.script = [GroupMovedOnError("moved"), GroupMovedOnError("moved")]
    bench.commit()
    assert bench.transactions.runs == [1, 2, 3]


def test_a_group_that_never_settles_is_given_up_for_now(bench: Bench) -> None:
    bench.transactions.script = [GroupMovedOnError("moved")] * 1_000
    with pytest.raises(LogUnavailableError, match="nothing was written"):
        bench.commit()


def test_who_lost_its_place_does_not_come_back_with_newer_metadata(bench: Bench) -> None:
    bench.place.note(bench.consumer)
    bench.place.lose()
    bench.transactions.script = [GroupMovedOnError("moved")]
    with pytest.raises(FencedError):
        bench.commit()
    assert bench.transactions.runs == [1], "the broker decides about what was noted before"


@pytest.mark.parametrize("how", ["given up", "new id", "lost and seated again"])
def test_what_was_lost_meanwhile_is_not_committed(bench: Bench, how: str) -> None:
    def moved(*_: object) -> None:
        bench.transactions.runs.append(how)
        if how == "given up":
            bench.owned.clear()
        elif how == "new id":
            bench.consumer.member_id = "new"
        else:
            bench.place.lose()
            bench.place.sit("id")
        raise GroupMovedOnError("moved")

    bench.transactions.run = moved
    with pytest.raises(FencedError):
        bench.commit()
    assert bench.transactions.runs == [how]


def test_a_commit_in_doubt_that_was_written_is_not_written_again(bench: Bench) -> None:
    bench.transactions.script = [LogUnavailableError("away")]
    with pytest.raises(LogUnavailableError):
        bench.commit()
    bench.transactions.unfinished = True
    bench.commits.settle()  # the polling thread may find it out first
    bench.commit()
    assert len(bench.transactions.runs) == 1
    bench.commit(2)
    assert len(bench.transactions.runs) == 2


def test_another_commit_than_the_one_in_doubt_is_refused(bench: Bench) -> None:
    bench.transactions.script = [LogUnavailableError("away")]
    with pytest.raises(LogUnavailableError):
        bench.commit()
    bench.transactions.unfinished = True
    with pytest.raises(LogError, match="written after all"):
        bench.commit(2)


def test_a_commit_in_doubt_that_was_aborted_is_written_when_repeated(bench: Bench) -> None:
    bench.transactions.script = [LogUnavailableError("away")]
    with pytest.raises(LogUnavailableError):
        bench.commit()
    bench.transactions.unfinished, bench.transactions.outcome = True, "aborted"
    bench.commit()
    assert len(bench.transactions.runs) == 2
