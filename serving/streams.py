"""``GET /v1/stream``: topics as server-sent events, resumable at any position that the log still holds.

There are no queues per client: each has a position and pulls from the shared feed, or from the log where it is
behind. So a slow client costs one position, and blocks nobody; where retention overtook it, a ``gap`` event says what
it missed.
"""

# Annotations are evaluated here: FastAPI could not resolve those that name a dependency of one app.
import heapq
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, HTTPException, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from penstock.errors import ContractError, OffsetOutOfRangeError
from penstock.log.port import Log, Record, TopicPartition
from penstock.telemetry import GaugeName
from penstock.topology import STAGES
from serving.deps import ServingDeps
from serving.feed import Feed

TOPICS = STAGES["serving"].tails
MAX_CLIENTS = 256
CHUNK = 200
#: How often an idle stream looks whether it is to end.
IDLE_S = 0.25
RECONNECT_MS = 1000


class Cursor:
    """Where one client is: the next offset of each partition it follows."""

    def __init__(self, positions: dict[TopicPartition, int]) -> None:
        self._next = dict(sorted(positions.items()))

    @property
    def id(self) -> str:
        """``topic/partition:offset`` of all partitions, comma-separated: what `from` and `Last-Event-ID` take."""
        return ",".join(f"{topic}/{number}:{offset}" for (topic, number), offset in self._next.items())

    async def pull(self, feed: Feed, log: Log) -> AsyncIterator[ServerSentEvent]:
        """The next events: in offset order within a partition, by append time across them."""
        batches: list[list[Record]] = []
        for partition in self._next:
            records = feed.after(partition, self._next[partition], CHUNK)
            if records is None:
                gap = None
                try:
                    records = await self._read(partition, feed, log)
                except OffsetOutOfRangeError as error:
                    gap = self._skip(partition, max(error.first, self._next[partition] + 1))
                    records = []
                if gap is not None:
                    yield gap
            batches.append(records)
        for record in heapq.merge(*batches, key=lambda record: record.timestamp_ms):
            self._next[TopicPartition(record.topic, record.partition)] = record.offset + 1
            yield ServerSentEvent(raw_data=record.value.decode(errors="replace"), event=record.topic, id=self.id)

    async def _read(self, partition: TopicPartition, feed: Feed, log: Log) -> list[Record]:
        start, stop = self._next[partition], feed.bounds(partition)[0]
        records = await anyio.to_thread.run_sync(log.read, partition, start, stop, CHUNK)
        if not records:  # nothing is held between here and the feed (compaction, transaction marks)
            self._next[partition] = stop
        return records

    def _skip(self, partition: TopicPartition, offset: int) -> ServerSentEvent:
        missed = {"topic": partition.topic, "partition": partition.partition, "from": self._next[partition]}
        self._next[partition] = offset
        return ServerSentEvent(data={**missed, "to": offset}, event="gap", id=self.id)


def cursor_from(feed: Feed, log: Log, topics: str, start: str) -> Cursor:
    """A cursor over ``topics``, comma-separated, that begins at ``start``: ``now``, ``start`` or positions.

    Partitions that ``start`` does not name begin now.

    Raises:
        ContractError: an unknown topic, or a start that is not of this form; names the parameter.
    """
    names = [name for name in topics.split(",") if name]
    strangers = [name for name in names if name not in TOPICS]
    if strangers or not names:
        raise ContractError("topics", f"{(strangers or [''])[0][:40]!r} is not one of {', '.join(TOPICS)}")
    partitions = feed.partitions(names)
    if start == "start":
        return Cursor({partition: log.bounds(partition).first for partition in partitions})
    positions = {partition: feed.bounds(partition)[1] for partition in partitions}
    for item in [] if start in {"now", ""} else start.split(","):
        place, _, offset = item.rpartition(":")
        topic, _, number = place.rpartition("/")
        if not (_is_count(offset) and _is_count(number)):
            raise ContractError("from", f"{item[:60]!r} is not `now`, `start` or `topic/partition:offset`")
        partition = TopicPartition(topic, int(number))
        if partition in positions:
            positions[partition] = min(int(offset), positions[partition])
    return Cursor(positions)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


class Clients:
    """How many streams are open, and that there are not too many."""

    def __init__(self, deps: ServingDeps) -> None:
        self._telemetry = deps.telemetry
        self._open = 0

    async def place(self) -> AsyncIterator[None]:
        """A dependency that holds one place while a stream is open. Raises ``HTTPException`` 503."""
        if self._open >= MAX_CLIENTS:
            raise HTTPException(503, f"{MAX_CLIENTS} streams are open already", {"Retry-After": "5"})
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        self._open += step
        self._telemetry.gauge(GaugeName.STREAM_CLIENTS, self._open)


def stream_routes(deps: ServingDeps, feed: Feed, clients: Clients, stopping: Callable[[], bool]) -> APIRouter:
    """``/v1/stream``. Streams end soon after ``stopping`` says so."""
    router = APIRouter()

    def cursor(
        topics: Annotated[str, Query(description=f"Comma-separated: {', '.join(TOPICS)}.")] = "predictions",
        start: Annotated[
            str,
            Query(alias="from", description="`now`, `start` (oldest held) or positions, as in the events' ids."),
        ] = "now",
        last_event_id: Annotated[str | None, Header(description="Wins over `from`: browsers resume with it.")] = None,
    ) -> Cursor:
        return cursor_from(feed, deps.log, topics, last_event_id or start)

    @router.get(
        "/v1/stream",
        response_class=EventSourceResponse,
        dependencies=[Depends(clients.place)],
        summary="Follow topics as server-sent events",
        description="The event's name is its topic, its data the record, its id the position to resume from.",
    )
    async def stream(cursor: Annotated[Cursor, Depends(cursor)]) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(comment="open", id=cursor.id, retry=RECONNECT_MS)
        while not stopping():
            quiet = True
            async for event in cursor.pull(feed, deps.log):
                quiet = False
                yield event
            if quiet:
                await feed.changed(IDLE_S)

    return router
