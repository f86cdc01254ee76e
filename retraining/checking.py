"""The check before a person's version serves: its artifact is there, signed, and loads. An effect, outside the fold.

It has a runner of its own, since a fit takes a minute and nobody who rolls back should wait for that.
"""

from __future__ import annotations

from typing import cast

import structlog

from penstock.clock import Clock
from penstock.contract import decoder_for
from penstock.errors import ArtifactError, LogUnavailableError
from penstock.events import Decision, ModelRecord, OutcomeCommand, encode
from penstock.log.port import Log, Message
from penstock.models.artifact import ArtifactStore
from penstock.models.slot import ONLINE, Loader
from penstock.spec import Pipeline
from retraining.states import State, fold

_POLL = 500

_log = structlog.get_logger("penstock.retraining.checking")


class Checker:
    """Follows ``decisions`` and ``commands`` and checks what a person asked for, once per command.

    May be repeated after a crash: the first outcome of a command counts. Belongs to one thread at a time.
    """

    def __init__(self, pipeline: Pipeline, log: Log, artifacts: ArtifactStore, load: Loader, clock: Clock) -> None:
        self._log = log
        self._artifacts = artifacts
        self._load = load
        self._clock = clock
        self._decisions = decoder_for("decisions", pipeline)
        self._commands = decoder_for("commands", pipeline)
        self._tail = log.tail(["decisions", "commands"], from_start=True)
        self._state = State()
        self._done: set[str] = set()

    def step(self, wait_s: float = 0.0) -> bool:
        """Read what is new and check what waits for it; True when something was done. Waits up to ``wait_s`` for news.

        A log that is unavailable is tried again at the next call.
        """
        try:
            self._follow(wait_s)
            asked = self._state.checking
            if asked is None or asked.model is None or asked.run_id in self._done:
                return False
            outcome = OutcomeCommand(
                id=f"{asked.run_id}-check",
                run_id=asked.run_id,
                step="check",
                at_ms=self._clock.now_ms(),
                error=self._why_not(asked.model),
            )
            self._log.append([Message("commands", outcome.id.encode(), encode(outcome))])
        except LogUnavailableError as error:
            _log.warning("check postponed", error=str(error))
            return False
        self._done.add(asked.run_id)
        return True

    def close(self) -> None:
        """Stop following the log. Idempotent."""
        self._tail.close()

    def _why_not(self, record: ModelRecord) -> str:
        if record.version == ONLINE:
            return ""
        try:
            self._load(record.kind, self._artifacts.get(record.uri, record.digest, record.signature))
        except ArtifactError as error:
            return str(error)
        return ""

    def _follow(self, wait_s: float) -> None:
        while records := self._tail.poll(_POLL, wait_s):
            wait_s = 0.0
            for record in records:
                if record.topic == "decisions":
                    self._state = fold(self._state, cast(Decision, self._decisions(record.value)))
                    continue
                command = self._commands(record.value)
                if isinstance(command, OutcomeCommand) and command.step == "check":
                    self._done.add(command.run_id)
