"""Takes people's commands to the log, with their audit entry, and waits a little for the decision on them."""

from __future__ import annotations

import uuid
from typing import TypeVar

import msgspec
from fastapi import Request, Response

from penstock.events import Command, Decision
from serving.answers import Commanded
from serving.deps import ServingDeps
from serving.feed import Feed
from serving.history import is_interim
from serving.incoming import decode_body, read_body
from serving.journal import Journal, append
from serving.overview import Overview
from serving.roles import Caller

#: How long an answer waits for the retrainer's decision.
DECIDED_WITHIN_S = 3.0
LOOK_EVERY_S = 0.25
#: Decisions that did not do what was asked for.
NOT_DONE = ("refused", "not_started")

T = TypeVar("T")


class Desk:
    """One per process. The log is the only way in: nothing is changed here."""

    def __init__(self, deps: ServingDeps, feed: Feed, overview: Overview, journal: Journal) -> None:
        self._deps, self._feed, self._overview, self._journal = deps, feed, overview, journal

    async def body(self, request: Request, shape: type[T]) -> T:
        """The body; an empty one counts as ``{}``. Raises ``ContractError`` that names the field."""
        raw = await read_body(request, self._deps.settings.max_body_bytes)
        return decode_body(raw.strip() or b"{}", shape)

    def new_id(self, what: str, wanted: str | None) -> str:
        """The command's id: the client's own, or a new one that says what it is."""
        return wanted or f"{what}-{uuid.uuid4()}"

    def now_ms(self) -> int:
        """The time of a command."""
        return self._deps.clock.now_ms()

    async def give(self, request: Request, caller: Caller, command: Command) -> Response:
        """Write ``command`` and answer: 200 done, 409 not done, 202 not decided yet.

        1. A command that was decided on before is answered with that decision. 2. The command and its audit entry are
        appended, both or none; that entry says 202, and the decision what became of it. 3. The decision is waited for.

        Raises:
            LogUnavailableError: it is not known whether it was written; it may be repeated with the same id.
        """
        decision = self._decided(command.id)  # 1
        if decision is None:
            entry = self._journal.entry(caller, request.method, request.url.path, 202, command.id)
            request.state.noted = True  # or not at all: a log that does not take the one takes no other entry either
            await append(self._deps.log, command, entry)  # 2
            decision = await self._wait(command.id)  # 3
        return _answer(command.id, decision)

    def _decided(self, command_id: str) -> Decision | None:
        with self._overview.lock:
            return self._overview.history.answer(f"command:{command_id}")

    async def _wait(self, command_id: str) -> Decision | None:
        until_s = self._deps.clock.monotonic_s() + DECIDED_WITHIN_S
        while True:
            decision = self._decided(command_id)
            if (decision is not None and not is_interim(decision)) or self._deps.clock.monotonic_s() >= until_s:
                return decision
            await self._feed.changed(LOOK_EVERY_S)


def _answer(command_id: str, decision: Decision | None) -> Response:
    if decision is None:
        detail = "it is in the log, and waits for the retrainer to decide on it; the history will tell"
        commanded = Commanded(command_id=command_id, status="accepted", detail=detail)
        return Response(msgspec.json.encode(commanded), 202, media_type="application/json")
    commanded = Commanded(
        command_id=command_id,
        status=decision.step,
        detail=decision.reason,
        run_id=decision.run_id,
        decision=decision,
    )
    status = 409 if decision.step in NOT_DONE else 202 if is_interim(decision) else 200
    return Response(msgspec.json.encode(commanded), status, media_type="application/json")
