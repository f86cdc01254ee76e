import asyncio
from typing import Any

import pytest
from anyio import BrokenResourceError

from penstock.clock import SystemClock
from penstock.telemetry import Telemetry
from serving.measure import Measure


def answer(media_type: bytes, error: Exception) -> None:
    """One request to an app that begins its answer and then fails with ``error``."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media_type)]})
        raise error

    async def nothing(*_: Any) -> Any:
        return {}

    scope = {"type": "http", "method": "GET", "headers": []}
    asyncio.run(Measure(app, Telemetry(), SystemClock())(scope, nothing, nothing))


def test_a_reader_who_leaves_a_stream_is_no_error() -> None:
    answer(b"text/event-stream; charset=utf-8", ExceptionGroup("tasks", [BrokenResourceError()]))


@pytest.mark.parametrize(
    ("media_type", "error"),
    [
        (b"text/event-stream", ExceptionGroup("tasks", [BrokenResourceError(), ZeroDivisionError()])),
        (b"application/json", ExceptionGroup("tasks", [BrokenResourceError()])),
    ],
)
def test_every_other_error_passes(media_type: bytes, error: Exception) -> None:
    with pytest.raises(ExceptionGroup):
        answer(media_type, error)
