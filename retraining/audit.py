"""Every command ends in the chain of decisions: with what it led to, or ``recorded``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

import msgspec

from penstock.events import (
    AccessCommand,
    ApprovalCommand,
    CancelCommand,
    Command,
    Decision,
    ExperimentCommand,
    HealthCommand,
    OutcomeCommand,
    PauseCommand,
    PolicyCommand,
    PromoteCommand,
    RetrainCommand,
    RollbackCommand,
    TickCommand,
)
from retraining.progress import Progress
from retraining.states import State
from retraining.triggers import draft

_COMMANDS = get_args(Command)


def answers(state: State, progress: Progress, event: object, drafts: Sequence[Decision]) -> list[Decision]:
    """``drafts`` of what ``event`` led to; where it is a command, exactly one of them names it.

    A command without a draft is ``recorded``, one that was answered before gives nothing.
    """
    if not isinstance(event, _COMMANDS):
        return list(drafts)
    command = cast(Command, event)
    waited_for = isinstance(command, OutcomeCommand) and drafts  # then its run has had none, whatever the id
    if command.id in state.answered and not waited_for:
        return []
    by = "" if isinstance(command, OutcomeCommand | TickCommand) else command.by
    first, *rest = drafts or [_recorded(state, progress, command)]
    return [msgspec.structs.replace(first, command=command.id, by=first.by or by), *rest]


def _recorded(state: State, progress: Progress, command: Command) -> Decision:
    run_id = command.run_id if isinstance(command, OutcomeCommand) else ""
    trigger = f"command:{command.id}"
    return draft(state, progress, "recorded", run_id=run_id, trigger=trigger, reason=said(command))


def said(command: Command) -> str:
    """What ``command`` says, in one line."""
    reason = getattr(command, "reason", "")
    why = f": {reason}" if reason else ""
    match command:
        case AccessCommand():
            return f"{command.by} ({command.role}) called {command.method} {command.path}: {command.status}"
        case PolicyCommand():
            return f"drift policy: {command.change}"
        case OutcomeCommand():
            what = f"failed: {command.error}" if command.error else f"best: {command.winner or 'none'}"
            return f"outcome of {command.run_id} ({what}), which no run waits for"
        case TickCommand():
            return f"schedule {command.schedule} was due; nothing to do"
        case HealthCommand():
            return (
                f"{command.by}: {command.check} of {command.version} (generation {command.generation}) "
                f"{command.value:g} beyond {command.limit:g}; nothing to do"
            )
        case PauseCommand():
            return f"{command.by}: {'pause' if command.paused else 'resume'} retraining{why}; nothing to do"
        case ApprovalCommand():
            return f"{command.by}: {'approve' if command.approved else 'reject'} {command.version}{why}; nothing to do"
        case ExperimentCommand():
            return f"{command.by}: {command.share:.0%} to {command.version}{why}; nothing to do"
        case CancelCommand():
            return f"{command.by}: cancel {command.run_id or 'the present run'}{why}; nothing to do"
        case PromoteCommand() | RollbackCommand() | RetrainCommand():
            what = type(command).__name__.removesuffix("Command").lower()
            return f"{command.by}: {what} {getattr(command, 'version', '')}{why}; nothing to do"
