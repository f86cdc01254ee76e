from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from penstock.log.kafka_reader import take_turns
from penstock.log.port import Record, TopicPartition

counts = st.lists(st.integers(0, 40), min_size=1, max_size=5)


def held(counts: list[int]) -> dict[TopicPartition, deque[Record]]:
    return {
        TopicPartition("t", p): deque(Record("t", p, offset, 0, None, b"") for offset in range(count))
        for p, count in enumerate(counts)
    }


@given(counts, st.integers(1, 30))
def test_all_come_once_in_order_and_never_more_than_asked(counts: list[int], limit: int) -> None:
    waiting = held(counts)
    taken: list[Record] = []
    while batch := take_turns(waiting, limit):
        assert len(batch) <= limit
        taken += batch
    assert len(taken) == sum(counts)
    for p, count in enumerate(counts):
        assert [record.offset for record in taken if record.partition == p] == list(range(count))


@given(counts, st.integers(1, 30))
def test_a_batch_is_full_or_takes_everything(counts: list[int], limit: int) -> None:
    assert len(take_turns(held(counts), limit)) == min(limit, sum(counts))


@given(st.integers(1, 10))
def test_nobody_waits_for_more_than_one_round(limit: int) -> None:
    waiting = held([1000, 1000, 1000])
    served: set[int] = set()
    for _ in range(3):
        served |= {record.partition for record in take_turns(waiting, limit)}
    assert served == {0, 1, 2}
