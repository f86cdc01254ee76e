from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.log.port import Record
from penstock.log.turns import take_in_turns


class Stock:
    """A source of ``count`` records; one of them may be broken."""

    def __init__(self, number: int, count: int, broken: bool = False) -> None:
        self.number, self.count, self.broken = number, count, broken
        self.position = 0

    def take(self, max_records: int) -> list[Record]:
        if self.broken:
            raise OSError("broken")
        upto = min(self.count, self.position + max_records)
        records = [Record("t", self.number, at, 0, None, b"") for at in range(self.position, upto)]
        self.position = upto
        return records


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 60))
def test_all_come_in_order_and_no_call_exceeds_the_limit(counts: list[int], limit: int) -> None:
    stocks = [Stock(number, count) for number, count in enumerate(counts)]
    seen: list[Record] = []
    for turn in range(1000):
        ready = [stock for stock in stocks if stock.position < stock.count]
        if not ready:
            break
        records = take_in_turns(ready, limit, turn)
        assert 0 < len(records) <= limit
        seen += records
    for stock in stocks:
        assert [record.offset for record in seen if record.partition == stock.number] == list(range(stock.count))


def test_a_small_partition_is_served_beside_a_large_one() -> None:
    large, small = Stock(0, 10_000), Stock(1, 5)
    records = take_in_turns([large, small], 20, 0)
    assert len([record for record in records if record.partition == 1]) == 5


def test_with_more_partitions_than_records_all_get_their_turn() -> None:
    stocks = [Stock(number, 10) for number in range(5)]
    first = [take_in_turns(stocks, 1, turn)[0].partition for turn in range(5)]
    assert sorted(first) == [0, 1, 2, 3, 4]


def test_an_error_leaves_all_positions_as_they_were() -> None:
    fine, broken = Stock(0, 10), Stock(1, 10, broken=True)
    with pytest.raises(OSError, match="broken"):
        take_in_turns([fine, broken], 10, 0)
    assert (fine.position, broken.position) == (0, 0)
