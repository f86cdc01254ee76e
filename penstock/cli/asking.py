"""A person's command: written to the log, and answered by the retrainer's decision on it."""

from __future__ import annotations

import time
from typing import TypeAlias

import msgspec
import typer

from penstock.cli.compose import System, decisions_of
from penstock.cli.context import Context
from penstock.errors import DependencyError
from penstock.events import (
    ApprovalCommand,
    CancelCommand,
    Decision,
    ExperimentCommand,
    PauseCommand,
    PromoteCommand,
    RetrainCommand,
    RollbackCommand,
    encode,
)
from penstock.log.port import Message

#: How long a command waits for the decision on it.
ANSWER_S = 10.0

Asked: TypeAlias = (
    ApprovalCommand
    | CancelCommand
    | ExperimentCommand
    | PauseCommand
    | PromoteCommand
    | RetrainCommand
    | RollbackCommand
)
#: Answers that nothing follows on.
DECLINED = ("refused", "not_started")


def ask(context: Context, system: System, command: Asked) -> None:
    """Write ``command`` as said now, wait for the decision on it and show that.

    Raises:
        DependencyError: no retrainer answers.
        typer.Exit: with 1, it was refused, or no run started.
    """
    command = msgspec.structs.replace(command, at_ms=system.clock.now_ms())
    system.log.append([Message("commands", command.id.encode(), encode(command))])
    decision = _answer(system, f"command:{command.id}")
    if decision is None:
        raise DependencyError(
            f"no retrainer has answered within {ANSWER_S:.0f} s; {command.id} waits in the log for one"
        )
    said = " ".join(part for part in (decision.step, decision.version or decision.run_id) if part)
    context.show(msgspec.to_builtins(decision), f"{said}: {decision.reason}")
    if decision.step in DECLINED:
        raise typer.Exit(1)


def _answer(system: System, trigger: str) -> Decision | None:
    """The first decision that is more than a note that an artifact is being checked."""
    deadline_s = system.clock.monotonic_s() + ANSWER_S
    while system.clock.monotonic_s() < deadline_s:
        for decision in decisions_of(system):
            if decision.trigger == trigger and decision.step != "recorded":
                return decision
        time.sleep(0.1)
    return None
