"""A recorded range of the log as ticks again, for backtests over what really happened."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from penstock.errors import UsageError
from penstock.log.port import Log, Message, Record, TopicPartition
from producers.schedule import Tick

_BATCH = 2000


class _Identified(msgspec.Struct):
    id: str = ""


def recorded_ticks(log: Log, partition: int, first: int, stop: int) -> Iterator[Tick]:
    """Requests of [first, stop) and the labels of the same ids, in the order in which they were appended.

    Raises:
        UsageError: the range holds no request.
        OffsetOutOfRangeError: retention passed ``first``.
    """
    requests = _read(log, TopicPartition("requests", partition), first, stop)
    if not requests:
        raise UsageError(f"requests/{partition}: no records between offsets {first} and {stop}")
    decoder = msgspec.json.Decoder(_Identified)
    wanted = {_id(decoder, record.value) for record in requests}
    bounds = log.bounds(TopicPartition("labels", partition))
    labels = [
        record
        for record in _read(log, TopicPartition("labels", partition), bounds.first, bounds.end)
        if _id(decoder, record.value) in wanted
    ]
    merged = sorted([*requests, *labels], key=lambda r: (r.timestamp_ms, r.topic != "requests", r.offset))
    row = -1
    for record in merged:
        row += record.topic == "requests"
        yield Tick(
            max(row, 0), record.timestamp_ms, [Message(record.topic, record.key, record.value, 0, record.headers)]
        )


def _id(decoder: msgspec.json.Decoder[_Identified], value: bytes) -> str:
    try:
        return decoder.decode(value).id
    except msgspec.DecodeError:
        return ""


def _read(log: Log, where: TopicPartition, start: int, stop: int) -> list[Record]:
    found: list[Record] = []
    while start < stop:
        batch = log.read(where, start, stop, _BATCH)
        if not batch:
            break
        found.extend(batch)
        start = batch[-1].offset + 1
    return found
