"""The audit journal of the management API: every call ends in ``commands``, equal ones are counted."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread
import structlog

from penstock.clock import Clock
from penstock.errors import LogError, LogUnavailableError
from penstock.events import AccessCommand, Command, encode
from penstock.log import port
from serving.history import ACCESS
from serving.roles import Caller

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
