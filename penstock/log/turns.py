"""How one poll is shared among partitions, so that a busy one never starves the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from penstock.log.port import Record


class Source(Protocol):
    """A reader's place in a partition that has records to give."""

    position: int

    def take(self, max_records: int) -> list[Record]:
        """Up to ``max_records`` (≥ 0) records from the position on; moves the position behind them."""
        ...


def take_in_turns(ready: Sequence[Source], max_records: int, turn: int) -> list[Record]:
    """Up to ``max_records`` in all; each source may give an equal share of what is left.

    ``turn`` (any growing number) rotates which source comes first. What early sources leave over goes to later ones.
    When a source raises, all positions are as before: what was not handed out counts as not read.
    """
    if len(ready) == 1:
        return ready[0].take(max_records)
    before = [source.position for source in ready]
    records: list[Record] = []
    try:
        for index in range(len(ready)):
            share = -(-(max_records - len(records)) // (len(ready) - index))
            if share > 0:
                records += ready[(turn + index) % len(ready)].take(share)
    except BaseException:  # whatever it was, the records taken so far are lost with it
        for source, position in zip(ready, before, strict=True):
            source.position = position
        raise
    return records
