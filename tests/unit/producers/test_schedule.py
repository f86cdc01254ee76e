"""When what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract import decoder_for
from penstock.errors import UsageError
from penstock.events import Label, Request, encode
from penstock.spec import DAY_MS, Millis, Numeric, Pipeline, Rows
from producers.labels import LabelDelay, RandomDelay
from producers.schedule import StreamRow, Tick, schedule

PIPELINE = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))


def row(index: int, time_ms: int, *, label: bool = True, known_ms: int | None = None) -> StreamRow:
    id_ = f"r{index}"
    request = encode(Request(id=id_, features={"x": 1.0}, event_time_ms=time_ms))
    return StreamRow(
        index, id_, f"e{index}", time_ms, request, encode(Label(id=id_, value="1")) if label else None, known_ms
    )


def stream(times: Sequence[int]) -> list[StreamRow]:
    return [row(index, time_ms) for index, time_ms in enumerate(times)]


def sent(ticks: Sequence[Tick]) -> list[tuple[int, str, int]]:
    """(tick's row, what, event time) of every message, in order."""
    found = []
    for tick in ticks:
        for message in tick.messages:
            event = msgspec.json.decode(message.value)
            found.append((tick.row, message.topic[0] + event["id"][1:], event["event_time_ms"]))
    return found


def test_rows_delay() -> None:
    ticks = list(schedule(stream([0, 10, 20, 30]), PIPELINE, delay=Rows(2)))
    assert sent(ticks) == [
        (0, "r0", 0),
        (1, "r1", 10),
        (2, "r2", 20),
        (2, "l0", 20),
        (3, "r3", 30),
        (3, "l1", 30),
        (3, "l2", 30),
        (3, "l3", 30),
    ]
    assert [tick.time_ms for tick in ticks] == [0, 10, 20, 30, 30, 30]


def test_no_delay_sends_the_label_right_after_its_request() -> None:
    for delay in (Rows(0), Millis(0)):
        assert [what for _, what, _ in sent(list(schedule(stream([0, 10]), PIPELINE, delay=delay)))] == [
            "r0",
            "l0",
            "r1",
            "l1",
        ]


def test_a_label_in_event_time_comes_before_the_first_later_request() -> None:
    ticks = list(schedule(stream([0, 10, 20]), PIPELINE, delay=Millis(15)))
    assert sent(ticks) == [(0, "r0", 0), (1, "r1", 10), (2, "l0", 15), (2, "r2", 20), (2, "l1", 25), (2, "l2", 35)]
    assert [tick.time_ms for tick in ticks] == [0, 10, 20, 25, 35]


def test_the_rows_own_label_times() -> None:
    rows = [row(0, 0, known_ms=25), row(1, 10, known_ms=5), row(2, 30)]
    assert sent(list(schedule(rows, PIPELINE))) == [
        (0, "r0", 0),
        (1, "r1", 10),
        (1, "l1", 5),  # known before its row: early
        (2, "l0", 25),
        (2, "r2", 30),
        (2, "l2", 30),  # no time of its own: the pipeline's delay
    ]


def test_a_given_delay_overrides_the_rows_own_label_times() -> None:
    rows = [row(0, 0, known_ms=9999), row(1, 10)]
    assert [what for _, what, _ in sent(list(schedule(rows, PIPELINE, delay=Rows(0))))] == ["r0", "l0", "r1", "l1"]


def test_keys_are_entities_and_partitions_are_left_to_the_log() -> None:
    messages = [message for tick in schedule(stream([0, 1]), PIPELINE, delay=Rows(1)) for message in tick.messages]
    assert {(m.topic, m.key) for m in messages} == {(t, k) for t in ("requests", "labels") for k in (b"e0", b"e1")}
    assert {message.partition for message in messages} == {None}


def test_missing_labels_are_a_seeded_share() -> None:
    def labels(seed: int) -> list[str]:
        ticks = schedule(stream(range(2000)), PIPELINE, missing_share=0.25, seed=seed)
        return [what for _, what, _ in sent(list(ticks)) if what.startswith("l")]

    assert len(labels(1)) == pytest.approx(1500, abs=80)
    assert labels(1) == labels(1) != labels(2)
    assert sum(1 for _ in schedule(stream(range(9)), PIPELINE, missing_share=1.0)) == 9


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(UsageError, match="share"):
        schedule([], PIPELINE, missing_share=share)


def test_a_delay_beyond_the_horizon_is_refused_at_the_call() -> None:
    pipeline = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),), horizon_ms=DAY_MS)
    with pytest.raises(UsageError, match="horizon"):
        schedule([], pipeline, delay=Millis(DAY_MS + 1))


def test_an_empty_stream_has_no_ticks() -> None:
    assert list(schedule([], PIPELINE)) == []


DELAYS = st.one_of(
    st.integers(0, 30).map(Rows),
    st.integers(0, 3000).map(Millis),
    st.builds(
        RandomDelay,
        st.one_of(st.integers(0, 20).map(Rows), st.integers(0, 2000).map(Millis)),
        st.sampled_from(["geometric", "uniform"]),
    ),
)


@given(
    st.lists(st.tuples(st.integers(-3000, 3000), st.booleans(), st.none() | st.integers(-3000, 5000)), max_size=40),
    st.none() | DELAYS,
    st.integers(0, 5),
)
def test_every_request_and_every_label_is_sent_once_in_order_and_not_too_early(
    given_rows: list[tuple[int, bool, int | None]], delay: LabelDelay | None, seed: int
) -> None:
    rows = [row(i, time_ms, label=label, known_ms=known) for i, (time_ms, label, known) in enumerate(given_rows)]
    ticks = list(schedule(rows, PIPELINE, delay=delay, seed=seed))
    assert ticks == list(schedule(rows, PIPELINE, delay=delay, seed=seed))
    assert all(a.time_ms <= b.time_ms and a.row <= b.row for a, b in pairwise(ticks))
    everything = sent(ticks)
    assert [what for _, what, _ in everything if what[0] == "r"] == [f"r{r.row}" for r in rows]
    labels = [what for _, what, _ in everything if what[0] == "l"]
    assert sorted(labels) == sorted(f"l{r.row}" for r in rows if r.label is not None)
    places = {what: index for index, (_, what, _) in enumerate(everything)}
    decode: Any = decoder_for("labels", PIPELINE)
    for tick in ticks:
        for message in tick.messages:
            if message.topic == "labels":
                label = decode(message.value)
                own = rows[int(label.id[1:])]
                assert places["r" + label.id[1:]] < places["l" + label.id[1:]]
                assert label.event_time_ms is not None
                assert label.event_time_ms <= tick.time_ms
                if isinstance(delay, Rows):
                    assert tick.row == min(own.row + delay.count, len(rows) - 1)
                    assert label.event_time_ms == tick.time_ms
                elif isinstance(delay, Millis):
                    assert label.event_time_ms == own.time_ms + delay.count
                elif delay is None and own.label_time_ms is not None:
                    assert label.event_time_ms == own.label_time_ms
