from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.batch_size import BatchSize


def test_it_grows_while_full_batches_are_short_and_shrinks_when_they_are_long() -> None:
    size = BatchSize(4000)
    assert size.limit == 500
    size.took(499, 0.01)
    assert size.limit == 500, "a batch that was not full says nothing"
    for expected in (1000, 2000, 4000, 4000):
        size.took(size.limit, 0.05)
        assert size.limit == expected
    size.took(4000, 0.2)
    assert size.limit == 4000
    size.took(4000, 3.0)
    assert size.limit == 666, "half a second at that pace"
    size.took(10, 3.0)
    assert size.limit == 100, "never less"


def test_it_grows_faster_while_batches_are_very_short() -> None:
    size = BatchSize(8000)
    for expected in (2000, 8000, 8000):
        size.took(size.limit, 0.01)
        assert size.limit == expected


@given(most=st.integers(1, 10_000), took=st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 10))))
def test_it_stays_within_bounds(most: int, took: list[tuple[int, float]]) -> None:
    size = BatchSize(most)
    for records, seconds in took:
        size.took(records, seconds)
        assert min(100, most) <= size.limit <= most
