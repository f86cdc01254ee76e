"""The door of the management API: who calls, and that every call is in the audit trail before it is answered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread
import structlog
from fastapi import HTTPException, Request
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.clock import Clock
from penstock.errors import LogError, LogUnavailableError
from penstock.events import AccessCommand, Command, encode
from penstock.log import port
from serving.history import ACCESS
from serving.problems import RETRY_AFTER_S, problem
from serving.roles import ApiKeys, Caller, Role, presented_key, unkeyed_caller

PREFIX = "/api/v1/mlops/"
#: Equal calls that change nothing are one entry per so long; the entry counts them.
SAME_FOR_S = 60.0
FLUSH_EVERY_S = 10.0
#: Who waited this long for the log is told to try again.
APPEND_WITHIN_S = 4.0
#: Different calls whose repetitions are counted at the same time.
MOST_COUNTED = 1000
LONGEST_PATH = 300

_logger = structlog.get_logger("serving")


async def append(log: port.Log, *commands: Command) -> None:
    """Append to ``commands``, all or none. Raises ``LogUnavailableError``, also where the log takes too long."""
    messages = [port.Message("commands", command.id.encode(), encode(command)) for command in commands]
    try:
        with anyio.fail_after(APPEND_WITHIN_S):
            await anyio.to_thread.run_sync(log.append, messages, abandon_on_cancel=True)
    except TimeoutError as error:
        raise LogUnavailableError(f"log: it has not answered for {APPEND_WITHIN_S:g} s") from error


@dataclass(slots=True)
class _Counted:
    """A call whose first entry is in the log, and how often it came again."""

    entry: AccessCommand
    until_s: float
    more: int = 0


class Journal:
    """Writes calls to ``commands``. To be used in one event loop.

    The first of equal calls is written before it is answered; those that follow within a minute are counted, and
    their number is written when the minute is over (or serving ends). A flood costs the log one entry a minute.
    """

    def __init__(self, log: port.Log, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._counted: dict[tuple[str, ...], _Counted] = {}

    def entry(self, caller: Caller | None, method: str, path: str, status: int, identity: str = "") -> AccessCommand:
        """What is written of a call: never the key or the body."""
        return AccessCommand(
            id=f"{ACCESS}{identity}-{uuid.uuid4().hex[:8]}" if identity else f"{ACCESS}{uuid.uuid4()}",
            by=caller.name if caller else "",
            role=caller.role if caller else "",
            at_ms=self._clock.now_ms(),
            method=method,
            path=path[:LONGEST_PATH],
            status=status,
        )

    async def note(self, entry: AccessCommand) -> None:
        """Write ``entry``, or count it. Raises ``LogUnavailableError``."""
        key = (entry.by, entry.role, entry.method, entry.path, str(entry.status))
        held, now_s = self._counted.get(key), self._clock.monotonic_s()
        if held is not None and now_s < held.until_s:
            held.more += 1
            return
        await self.flush(everything=len(self._counted) >= MOST_COUNTED)
        await append(self._log, entry)
        self._counted[key] = _Counted(entry, now_s + SAME_FOR_S)

    async def flush(self, *, everything: bool = False) -> None:
        """Write how often calls came again, of those whose minute is over. Raises ``LogUnavailableError``."""
        now_s = self._clock.monotonic_s()
        over = {key: held for key, held in self._counted.items() if everything or now_s >= held.until_s}
        for key in over:
            del self._counted[key]
        entries = [self._again(held) for held in over.values() if held.more]
        if not entries:
            return
        try:
            await append(self._log, *entries)
        except LogError:
            self._counted = {**over, **self._counted}
            raise

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Flush now and then, and all of it at the end."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await self._try_flush(everything=True)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self._try_flush(everything=False)

    async def _try_flush(self, *, everything: bool) -> None:
        try:
            await self.flush(everything=everything)
        except LogError as error:
            _logger.warning("repeated calls wait to be written to the audit trail", error=str(error))

    def _again(self, held: _Counted) -> AccessCommand:
        entry = held.entry
        return AccessCommand(
            id=f"{ACCESS}{uuid.uuid4()}",
            by=entry.by,
            role=entry.role,
            at_ms=self._clock.now_ms(),
            method=entry.method,
            path=entry.path,
            status=entry.status,
            count=held.more,
        )


class Access:
    """An ASGI layer around the routes below ``PREFIX``: it says who calls, and notes the call before it is answered.

    1. Who calls is found out; a wrong or absent key is answered with the same 401 whatever was asked for.
    2. The app answers; the answer is held. 3. The call is noted, unless the route did that together with its command.
    4. The answer goes out; or 503, where the call could not be noted.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys, journal: Journal, host: str, routes: Sequence[BaseRoute]) -> None:
        self._app, self._keys, self._journal, self._host, self._routes = app, keys, journal, host, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request below ``PREFIX``; pass others on."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        caller = self._caller(scope)  # 1
        state = scope.setdefault("state", {})
        state["caller"] = caller
        # Strangers choose paths as they like; what is kept for ever names the route.
        path = scope["path"] if caller is not None and self._keys else self._route_of(scope)
        answer: list[Message] = []

        async def hold(message: Message) -> None:
            answer.append(message)

        status = 500
        try:
            await (self._app if caller is not None else _unknown)(scope, receive, hold)  # 2
            status = answer[0]["status"] if answer else 500
        finally:
            refused = await self._noted(caller, scope["method"], path, status) if "noted" not in state else None  # 3
        if refused is not None and status < 500:
            await refused(scope, receive, send)
            return
        for message in answer:  # 4
            await send(message)

    def _route_of(self, scope: Scope) -> str:
        """The template of the route that is called; of an unknown one the prefix alone."""
        matching = (route for route in self._routes if route.matches(scope)[0] is not Match.NONE)
        return str(getattr(next(matching, None), "path", PREFIX))

    def _caller(self, scope: Scope) -> Caller | None:
        headers = Headers(scope=scope)
        if not self._keys:
            return unkeyed_caller(headers, scope["client"][0] if scope.get("client") else "", self._host)
        key = presented_key(headers)
        return None if key is None else self._keys.identify(key)

    async def _noted(
        self, caller: Caller | None, method: str, path: str, status: int
    ) -> Callable[[Scope, Receive, Send], Awaitable[None]] | None:
        """Note a call; where that fails, the answer to be given instead."""
        try:
            await self._journal.note(self._journal.entry(caller, method, path, status))
        except LogError as error:
            _logger.error("a call could not be noted in the audit trail", error=str(error))
            why = "the event log is not available, and no call is answered that cannot be audited"
            return problem(503, why, headers={"Retry-After": str(RETRY_AFTER_S)})
        return None


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    why = "a valid API key is needed, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
    await problem(401, why, headers={"WWW-Authenticate": 'Bearer realm="penstock"'})(scope, receive, send)


def needs(role: Role) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that gives the caller of a route that wants ``role``. It raises ``HTTPException`` 403."""

    async def allowed(request: Request) -> Caller:
        caller: Caller = request.state.caller
        if not caller.may(role):
            raise HTTPException(
                403, caller.why_not_more or f"this needs the role {role}; {caller.name} is {caller.role}"
            )
        return caller

    return allowed
