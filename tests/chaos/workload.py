"""What upstream applications send, from a seed: requests and labels, well-behaved and not.

Times are event times, a minute per request, so that horizon and early bound are reached within a few hundred requests.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias

from producers.agrawal import credit_stream

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
#: The event time of the first request.
START_MS = 1_700_000_000_000
#: A label comes so many requests after its own, give or take `JITTER`; its time is that of the request then sent.
DELAY, JITTER = 30, 12
#: A late label is sent so many requests after its own: its partition's watermark is then beyond the horizon.
LATE = 260
#: What is wrong with a label that says it was known long before its request.
TOO_EARLY_MS = 3 * HOUR_MS
LARGE_BYTES = 900_000

Topic: TypeAlias = Literal["requests", "labels"]


class Sent(NamedTuple):
    """One record to send. ``poison``: it breaks its contract and must become a dead letter."""

    topic: Topic
    key: bytes
    value: bytes
    poison: bool = False


class Shares(NamedTuple):
    """How often each misbehaviour is, per request."""

    repeated_request: float = 0.02
    repeated_label: float = 0.03
    revised_label: float = 0.02
    orphan: float = 0.01
    early: float = 0.03
    too_early: float = 0.01
    late: float = 0.02
    unlabelled: float = 0.02
    poison: float = 0.01


ORDINARY = Shares()


class _Due(NamedTuple):
    """A record and when it is sent: after the request of this number (reals order what is sent between two)."""

    at: float
    tie: float
    sent: Sent


def workload(
    seed: int, requests: int, shares: Shares = ORDINARY, *, first_row: int = 0, timeless: bool = False
) -> list[Sent]:
    """What is sent, in order; its time begins with ``first_row``. ``timeless``: without event
    times, so that append times count."""
    rng = random.Random(seed)
    due: list[_Due] = []
    for row, (features, outcome) in enumerate(_rows(requests, seed), first_row):
        id_ = f"{seed}-{row}"
        due += [_Due(at, rng.random(), sent) for at, sent in _of_row(rng, row, id_, features, outcome, shares)]
    records = [one.sent for one in sorted(due, key=lambda one: one[:2])]
    return [_timeless(sent) for sent in records] if timeless else records


def _rows(requests: int, seed: int) -> Iterator[tuple[dict[str, Any], str]]:
    rows, _ = credit_stream(requests, seed)
    for row in islice(rows, requests):
        yield json.loads(row.request)["features"], json.loads(row.label or b"{}")["value"]


def _of_row(
    rng: random.Random, row: int, id_: str, features: dict[str, Any], outcome: str, shares: Shares
) -> Iterator[tuple[float, Sent]]:
    request = _request(id_, row, features)
    yield row, request
    if rng.random() < shares.repeated_request:
        yield row + rng.randrange(20), request
    if rng.random() < shares.orphan:
        yield row, _label(f"nobody-{id_}", outcome, _time(row))
    if rng.random() < shares.poison:
        yield row, _poison(rng, id_, features)
    if rng.random() >= shares.unlabelled:
        yield from _labels(rng, row, id_, outcome, shares)


def _labels(rng: random.Random, row: int, id_: str, outcome: str, shares: Shares) -> Iterator[tuple[float, Sent]]:
    at = row + DELAY + rng.uniform(-JITTER, JITTER)  # labels overtake each other
    time_ms, kind = _time(at), rng.random()
    if kind < shares.early:
        at, time_ms = row - 0.5 - rng.random(), _time(row)
    elif kind < shares.early + shares.too_early:
        time_ms = _time(row) - TOO_EARLY_MS
    elif kind < shares.early + shares.too_early + shares.late:
        at += LATE
        time_ms = _time(at)
    label = _label(id_, outcome, time_ms)
    yield at, label
    if rng.random() < shares.repeated_label:
        yield at + rng.randrange(10), label
    if rng.random() < shares.revised_label:
        yield at + 5 + rng.randrange(20), _label(id_, "1" if outcome == "0" else "0", _time(at + 5))


def _time(at: float) -> int:
    return START_MS + int(at * MINUTE_MS)


def _request(id_: str, row: int, features: dict[str, Any]) -> Sent:
    value = {"id": id_, "features": features, "event_time_ms": _time(row)}
    return Sent("requests", id_.encode(), json.dumps(value).encode())


def _label(id_: str, outcome: str, time_ms: int) -> Sent:
    return Sent("labels", id_.encode(), json.dumps({"id": id_, "value": outcome, "event_time_ms": time_ms}).encode())


def _poison(rng: random.Random, id_: str, features: dict[str, Any]) -> Sent:
    """One of the ways in which a record breaks its contract. Each has bytes of its own."""
    bad = f"bad-{id_}"
    values: list[tuple[Topic, bytes]] = [
        ("requests", f'{{"id":"{bad}","features":{{'.encode()),
        ("requests", json.dumps({"id": bad, "features": {**features, "age": float("nan")}}).encode()),
        ("requests", json.dumps({"id": bad, "features": {**features, "age": "old"}}).encode()),
        ("requests", json.dumps({"id": bad, "features": {}}).encode()),
        ("requests", b"\xff\xfe" + bad.encode()),
        ("labels", json.dumps({"id": bad, "value": "perhaps"}).encode()),
        ("labels", f'{{"id":"{bad}","value":NaN}}'.encode()),
        ("labels", f"[{bad}".encode()),
    ]
    topic, value = rng.choice(values)
    return Sent(topic, bad.encode(), value, poison=True)


def large_poison(seed: int, size: int = LARGE_BYTES) -> Sent:
    """A record of ``size`` bytes that is not JSON."""
    bad = f"bad-large-{seed}"
    return Sent("requests", bad.encode(), f'{{"id":"{bad}","features":"'.encode() + b"x" * size, poison=True)


def _timeless(sent: Sent) -> Sent:
    if sent.poison:
        return sent
    value = json.loads(sent.value)
    del value["event_time_ms"]
    return sent._replace(value=json.dumps(value).encode())
