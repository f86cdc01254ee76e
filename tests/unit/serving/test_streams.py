import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from penstock.clock import VirtualClock
from penstock.errors import ContractError
from penstock.events import Alert, Prediction
from penstock.log.port import TopicPartition
from serving.app import run_server
from serving.feed import RING_RECORDS, Feed
from serving.streams import MAX_CLIENTS, Clients, cursor_from
from tests.unit.serving.stand import FEATURES, Stand


def alert(number: int) -> Alert:
    return Alert(id=str(number), severity="info", title=f"t{number}", detail="", at_ms=0, source="test")


def prediction(number: int) -> Prediction:
    return Prediction(
        id=str(number),
        entity="e",
        event_time_ms=number,
        features={},
        version="v",
        generation=0,
        decision="yes",
        score=0.5,
    )


@contextmanager
def serving(stand: Stand) -> Iterator[str]:
    """A real server in a thread."""
    stop, up = threading.Event(), threading.Event()
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    thread = threading.Thread(target=run_server, args=(stand.deps, "127.0.0.1", 0, ready, stop))
    thread.start()
    try:
        assert up.wait(20)
        yield urls[0]
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def events_of(lines: Iterator[str], count: int) -> list[dict[str, Any]]:
    """The next ``count`` events that have data, as {event, id, data}."""
    found: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line == "":
            if "data" in event:
                found.append(event)
            event = {}
            if len(found) == count:
                return found
        elif name:
            event[name] = json.loads(value) if name == "data" else value
    return found


def read(url: str, count: int, **options: Any) -> list[dict[str, Any]]:
    with httpx.stream("GET", url, timeout=10, **options) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return events_of(response.iter_lines(), count)


def test_streams_are_in_order_and_resume_where_they_ended(stand: Stand) -> None:
    stand.append("alerts", *(alert(n) for n in range(5)))
    with serving(stand) as url:
        first = read(f"{url}/v1/stream?topics=alerts,drift&from=start", 3)
        assert [event["data"]["id"] for event in first] == ["0", "1", "2"]
        assert {event["event"] for event in first} == {"alerts"}
        assert first[-1]["id"] == "alerts/0:3,drift/0:0"
        stand.append("alerts", alert(5))
        resumed = read(f"{url}/v1/stream?topics=alerts,drift", 3, headers={"Last-Event-ID": first[-1]["id"]})
        assert [event["data"]["id"] for event in resumed] == ["3", "4", "5"]
        explicit = read(f"{url}/v1/stream?topics=alerts&from=alerts/0:4", 2)
        assert [event["data"]["id"] for event in explicit] == ["4", "5"]


def test_a_live_stream_sees_what_comes_after_it_opened(stand: Stand) -> None:
    stand.append("predictions", prediction(0))
    with serving(stand) as url, httpx.stream("GET", f"{url}/v1/stream?topics=predictions", timeout=10) as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith("id:")) == "id: predictions/0:1"
        httpx.post(f"{url}/v1/predict", json={"id": "1", "features": FEATURES}).raise_for_status()
        [event] = events_of(lines, 1)
        assert event["data"]["id"] == "1"
        assert event["data"]["features"]["salary"] == 1000.0


def test_stop_takes_less_than_two_seconds_with_open_streams(stand: Stand) -> None:
    stop, up = threading.Event(), threading.Event()
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    thread = threading.Thread(target=run_server, args=(stand.deps, "127.0.0.1", 0, ready, stop))
    thread.start()
    assert up.wait(20)
    with (
        httpx.stream("GET", f"{urls[0]}/v1/stream", timeout=10) as one,
        httpx.stream("GET", f"{urls[0]}/v1/dashboard/stream", timeout=10) as two,
    ):
        began = stand.clock.monotonic_s()
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
        assert stand.clock.monotonic_s() - began < 2
        for response in (one, two):  # they ended properly, not by a broken connection
            for _ in response.iter_lines():
                pass


def test_an_address_that_is_taken_is_one_clear_line(stand: Stand) -> None:
    with serving(stand) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(Exception, match=f"127.0.0.1:{port}: cannot listen there") as caught:
            run_server(Stand().deps, "127.0.0.1", port, print, threading.Event())
        assert getattr(caught.value, "exit_code", None) == 3


@asynccontextmanager
async def feed_of(stand: Stand) -> AsyncIterator[Feed]:
    feed = Feed(stand.log, lambda _records: None)
    feed.open()
    feed.catch_up()
    feed.start(asyncio.get_running_loop())
    try:
        yield feed
    finally:
        await asyncio.to_thread(feed.stop)


async def pulled(stand: Stand, feed: Feed, start: str, count: int) -> list[Any]:
    cursor = cursor_from(feed, stand.log, "predictions", start)
    events: list[Any] = []
    while len(events) < count:
        fresh = [event async for event in cursor.pull(feed, stand.log)]
        events += fresh
        if not fresh:
            await feed.changed(0.1)
    return events


def test_a_client_far_behind_reads_the_log_and_loses_nothing(stand: Stand) -> None:
    total = 3 * RING_RECORDS
    stand.append("predictions", *(prediction(n) for n in range(total)))

    async def run() -> list[Any]:
        async with feed_of(stand) as feed:
            return await pulled(stand, feed, "predictions/0:0", total)

    events = asyncio.run(run())
    assert [json.loads(event.raw_data)["id"] for event in events] == [str(n) for n in range(total)]


def test_memory_is_bounded_whatever_comes(stand: Stand) -> None:
    async def run() -> tuple[int, int]:
        async with feed_of(stand) as feed:
            for start in range(0, 5 * RING_RECORDS, 1000):
                stand.append("predictions", *(prediction(n) for n in range(start, start + 1000)))
            where, end = TopicPartition("predictions", 0), stand.log.bounds(TopicPartition("predictions", 0)).end
            while feed.bounds(where)[1] < end:
                await feed.changed(0.1)
            return len(feed.newest("predictions", 10**9)), end

    held, end = asyncio.run(run())
    assert RING_RECORDS <= held < 2 * RING_RECORDS < end


def test_where_retention_overtook_a_client_a_gap_says_so() -> None:
    clock = VirtualClock()
    stand = Stand(clock=clock)
    stand.append("predictions", *(prediction(n) for n in range(1000)))
    clock.advance_s(8 * 86_400)
    stand.append("predictions", *(prediction(n) for n in range(1000, 2 * RING_RECORDS)))
    stand.log.maintain()

    async def run() -> list[Any]:
        async with feed_of(stand) as feed:
            return await pulled(stand, feed, "predictions/0:10", 3)

    gap, first, *_ = asyncio.run(run())
    assert gap.event == "gap"
    assert gap.data == {"topic": "predictions", "partition": 0, "from": 10, "to": 1000}
    assert json.loads(first.raw_data)["id"] == "1000"


@pytest.mark.parametrize("start", ["yesterday", "alerts/0", "alerts/0:x", "alerts/-1:0", "alerts/0:" + "9" * 30])
def test_a_start_that_is_none_names_the_parameter(start: str, stand: Stand) -> None:
    feed = Feed(stand.log, lambda _records: None)
    feed.open()
    with pytest.raises(ContractError, match="from") as caught:
        cursor_from(feed, stand.log, "alerts", start)
    assert caught.value.field == "from"


@pytest.mark.parametrize("topics", ["", "labels", "alerts,requests", "dead-letters"])
def test_topics_that_are_not_for_clients_are_refused(topics: str, client: TestClient) -> None:
    answered = client.get("/v1/stream", params={"topics": topics})
    assert (answered.status_code, answered.json()["field"]) == (422, "topics")


def test_a_position_beyond_the_end_begins_now(stand: Stand) -> None:
    stand.append("alerts", alert(0))
    feed = Feed(stand.log, lambda _records: None)
    feed.open()
    feed.catch_up()
    assert cursor_from(feed, stand.log, "alerts", "alerts/0:99").id == "alerts/0:1"
    assert cursor_from(feed, stand.log, "alerts,drift", "drift/0:0,elsewhere/7:3").id == "alerts/0:1,drift/0:0"


def test_there_are_only_so_many_streams(stand: Stand) -> None:
    clients = Clients(stand.deps)

    async def run() -> None:
        places = [clients.place() for _ in range(MAX_CLIENTS)]
        for place in places:
            await anext(place)
        with pytest.raises(HTTPException) as refused:
            await anext(clients.place())
        assert refused.value.status_code == 503
        await anext(places.pop(), None)  # one leaves, and there is room for another
        places.append(clients.place())
        await anext(places[-1])
        for place in places:
            await anext(place, None)

    asyncio.run(run())
    assert stand.telemetry.registry.get_sample_value("penstock_stream_clients") == 0
