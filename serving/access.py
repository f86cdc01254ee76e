"""The door of the management API: who calls, and that every call is in the audit trail before it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeAlias

import structlog
from fastapi import Depends, HTTPException, Request
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.errors import LogError
from serving.journal import Journal
from serving.problems import RETRY_AFTER_S, problem
from serving.roles import ApiKeys, Caller, Role, presented_key, unkeyed_caller

PREFIX = "/api/v1/mlops/"

_logger = structlog.get_logger("serving")


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


#: The caller of a route, who has at least that role.
Reader: TypeAlias = Annotated[Caller, Depends(needs("reader"))]
Operator: TypeAlias = Annotated[Caller, Depends(needs("operator"))]
Admin: TypeAlias = Annotated[Caller, Depends(needs("admin"))]
