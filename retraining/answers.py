"""What a person asks for, and the answer that each command gets."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from penstock.events import (
    ApprovalCommand,
    Decision,
    ExperimentCommand,
    HealthCommand,
    PromoteCommand,
    RollbackCommand,
    Step,
)
from retraining.progress import Progress
from retraining.states import State
from retraining.triggers import draft

#: A person's commands about a version whose artifact is checked before it is decided.
Requested: TypeAlias = PromoteCommand | ExperimentCommand | RollbackCommand
#: Commands about which version serves.
Asked: TypeAlias = Requested | ApprovalCommand | HealthCommand
#: So many versions are named to a person who named one that is not known.
NAMED = 10


def trigger_of(command: Asked) -> str:
    """The trigger of every decision on ``command``."""
    return f"command:{command.id}"


def asked(command: Requested | ApprovalCommand) -> str:
    """Who asked, and why, for people."""
    return f"asked for by {command.by}" + (f": {command.reason}" if command.reason else "")


def answer(
    state: State, progress: Progress, command: Asked, step: Step, reason: str, *, run_id: str = "", version: str = ""
) -> Decision:
    """A decision on ``command``, with who asked for it."""
    decision = draft(state, progress, step, run_id=run_id, trigger=trigger_of(command), reason=reason)
    return msgspec.structs.replace(decision, by=command.by, version=version)


def refused(state: State, progress: Progress, command: Asked, reason: str, *, version: str = "") -> Decision:
    """``refused``, with the reason."""
    return answer(state, progress, command, "refused", reason, version=version)


def unknown(version: str, versions: list[str]) -> str:
    """There is no such version; the newest that there are."""
    more = "… " if len(versions) > NAMED else ""
    return f"there is no version {version}; there are {more}{', '.join(versions[-NAMED:])}"
