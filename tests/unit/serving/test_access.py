import asyncio
from typing import Any

import msgspec
import pytest

from penstock.events import Command
from serving.access import PREFIX, Access
from serving.journal import Journal
from serving.roles import ApiKeys
from tests.unit.serving.stand import Stand


def test_a_bug_is_noted_as_such_and_passes_on(stand: Stand) -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError

    async def nothing(*_: Any) -> Any:
        return {}

    path = f"{PREFIX}retraining/stats"
    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"x-api-key", b"k" * 16)]}
    door = Access(broken, ApiKeys(["ann:reader:" + "k" * 16]), Journal(stand.log, stand.clock), "127.0.0.1", [])
    with pytest.raises(ZeroDivisionError):
        asyncio.run(door(scope, nothing, nothing))
    [call] = [msgspec.json.decode(record.value, type=Command) for record in stand.records("commands")]
    assert (call.by, call.path, call.status) == ("ann", path, 500)


def test_other_routes_are_none_of_its_business(stand: Stand) -> None:
    passed = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["path"])

    async def nothing(*_: Any) -> Any:
        return {}

    door = Access(app, ApiKeys(["ann:reader:" + "k" * 16]), Journal(stand.log, stand.clock), "127.0.0.1", [])
    asyncio.run(door({"type": "http", "method": "GET", "path": "/v1/model", "headers": []}, nothing, nothing))
    assert (passed, stand.records("commands")) == (["/v1/model"], [])
