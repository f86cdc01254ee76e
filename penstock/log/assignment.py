"""Who of a group owns which partitions: every member computes it alone, from the names of the living."""

from __future__ import annotations

from collections.abc import Iterable


def share_of(member: str, members: Iterable[str], partitions: int) -> range:
    """The partition numbers that ``member`` should own.

    Names are sorted and get ranges in that order, whose lengths differ by at most one (the first ones are the
    longer). The ranges of all members are disjoint and together cover ``range(partitions)``. A name that is not in
    ``members`` gets nothing.
    """
    names = sorted(set(members))
    if member not in names:
        return range(0)
    index = names.index(member)
    length, longer = divmod(partitions, len(names))
    start = index * length + min(index, longer)
    return range(start, start + length + (index < longer))
