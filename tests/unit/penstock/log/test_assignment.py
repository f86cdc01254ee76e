from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.log.assignment import share_of


@given(st.sets(st.text(min_size=1), min_size=1, max_size=8), st.integers(1, 40))
def test_shares_are_disjoint_even_and_cover_everything(members: set[str], partitions: int) -> None:
    shares = [share_of(member, members, partitions) for member in sorted(members)]
    assert [number for share in shares for number in share] == list(range(partitions))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


def test_a_stranger_gets_nothing() -> None:
    assert list(share_of("x", ["a", "b"], 4)) == []
    assert list(share_of("a", [], 4)) == []
