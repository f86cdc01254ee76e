from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.log.librdkafka_records import Shelf, Shelves, headers_of, record_of
from penstock.log.port import Record, TopicPartition

NAMES = {"p.in.v1": "in", "p.side.v1": "side"}


class Fetched:
    """A message as the client hands it out."""

    def __init__(self, topic: str, partition: int, offset: int, error: str | None = None, **values: Any) -> None:
        self._values = {"topic": topic, "partition": partition, "offset": offset, "error": error, "timestamp": (1, 7)}
        self._values |= {"key": b"k", "value": b"v", "headers": None} | values

    def __getattr__(self, name: str) -> Any:
        return lambda: self._values[name]


def fetched(*arguments: Any, **values: Any) -> Any:
    return Fetched(*arguments, **values)


def test_a_record_has_all_that_the_message_has() -> None:
    message = fetched("p.in.v1", 3, 9, headers=[("h", b"x"), ("empty", None)])
    assert record_of(message, "in") == Record("in", 3, 9, 7, b"k", b"v", (("h", b"x"), ("empty", b"")))


def test_a_tombstone_is_an_empty_value() -> None:
    assert record_of(fetched("p.in.v1", 0, 0, value=None, key=None), "in") == Record("in", 0, 0, 7, None, b"")


def test_no_headers_are_an_empty_tuple() -> None:
    assert headers_of([]) == ()


def test_what_nobody_reads_is_dropped_and_errors_come_back() -> None:
    shelves = Shelves(NAMES)
    shelves.open(TopicPartition("in", 0))
    failed = fetched("p.in.v1", 0, 2, error="gone")
    assert shelves.put([fetched("p.in.v1", 0, 1), fetched("p.in.v1", 1, 1), failed]) == [failed]
    assert [record.offset for record in shelves.take(10)] == [1]
    shelves.put([fetched("p.in.v1", 0, 3)])
    shelves.drop(TopicPartition("in", 0))
    shelves.put([fetched("p.in.v1", 0, 4)])
    assert (len(shelves), shelves.count, shelves.take(10)) == (0, 0, [])


def test_a_busy_partition_starves_no_other() -> None:
    shelves = Shelves(NAMES)
    for topic in ("in", "side"):
        shelves.open(TopicPartition(topic, 0))
    shelves.put([fetched("p.in.v1", 0, n) for n in range(100)] + [fetched("p.side.v1", 0, n) for n in range(3)])
    taken = shelves.take(10)
    assert len(taken) == 10
    assert [record.offset for record in taken if record.topic == "side"] == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 6_000), st.integers(0, 6_000)), max_size=12))
def test_a_shelf_gives_everything_once_and_in_order(steps: list[tuple[int, int]]) -> None:
    shelf, put, taken = Shelf(), 0, list[int]()
    for more, wanted in steps:
        shelf.records += [Record("in", 0, put + n, 0, None, b"") for n in range(more)]
        put += more
        got = shelf.take(wanted)
        assert len(got) <= wanted
        taken += [record.offset for record in got]
        assert len(shelf) == put - len(taken)
    taken += [record.offset for record in shelf.take(1_000_000)]
    assert taken == list(range(put))
