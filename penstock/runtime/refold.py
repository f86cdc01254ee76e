"""A stage folded again over a range of one of its inputs, for its state alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from penstock.errors import ContractError
from penstock.events import Event
from penstock.log.port import Record
from penstock.runtime.ranges import PIECE
from penstock.runtime.stage import EffectfulStage, Input, Stage


def refold(stage: Stage, records: Iterable[Record], decode: Callable[[bytes], Event]) -> int:
    """Feed ``records`` to ``stage``, effects muted and outputs dropped; return how many kept their contract.

    Records that broke it are left out, as they were the first time: they are in the dead letters.
    """
    if isinstance(stage, EffectfulStage):
        stage.mute(True)
    inputs = _decoded(records, decode)
    count = 0
    while batch := list(islice(inputs, PIECE)):
        stage.process(batch)
        count += len(batch)
    return count


def _decoded(records: Iterable[Record], decode: Callable[[bytes], Event]) -> Iterator[Input]:
    for record in records:
        try:
            event = decode(record.value)
        except ContractError:
            continue
        yield Input(record.topic, record.partition, record.offset, record.timestamp_ms, event)
