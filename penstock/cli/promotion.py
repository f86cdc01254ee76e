"""``penstock models approve | reject | promote | rollback | experiment``: a person says which version serves."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, TypeAlias

import msgspec
import typer

from penstock.cli.compose import System, decisions_of
from penstock.cli.context import of
from penstock.cli.installation import installation
from penstock.cli.retrain import whoami
from penstock.errors import DependencyError, UsageError
from penstock.events import (
    ApprovalCommand,
    Decision,
    ExperimentCommand,
    PromoteCommand,
    RollbackCommand,
    encode,
)
from penstock.log.port import Message

#: How long a command waits for the decision on it.
ANSWER_S = 10.0

Said: TypeAlias = ApprovalCommand | ExperimentCommand | PromoteCommand | RollbackCommand
Version = Annotated[str, typer.Argument(metavar="VERSION", help="As `penstock models list` names it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; goes into the record.", metavar="TEXT")]


def approve(ctx: typer.Context, version: Version, reason: Reason = "") -> None:
    """Let a version that waits for it serve. Exit 1 where that is refused, 3 where no retrainer answers yet."""
    _ask(ctx, ApprovalCommand(id=_id("approve"), by=whoami(), at_ms=0, version=version, approved=True, reason=reason))


def reject(ctx: typer.Context, version: Version, reason: Reason = "") -> None:
    """End the run of a version that waits for approval. Exit 1 where that is refused, 3 without a retrainer."""
    _ask(ctx, ApprovalCommand(id=_id("reject"), by=whoami(), at_ms=0, version=version, approved=False, reason=reason))


def promote(ctx: typer.Context, version: Version, reason: Reason = "") -> None:
    """Serve a registered version, once its artifact was checked. Exit 1 where refused, 3 without a retrainer."""
    _ask(ctx, PromoteCommand(id=_id("promote"), by=whoami(), at_ms=0, version=version, reason=reason))


def rollback(
    ctx: typer.Context,
    version: Annotated[
        str,
        typer.Argument(metavar="VERSION", help="A version that served before; default: the one before the present."),
    ] = "",
    reason: Reason = "",
) -> None:
    """Serve a former champion again. Exit 1 where that is refused, 3 where no retrainer answers yet."""
    _ask(ctx, RollbackCommand(id=_id("rollback"), by=whoami(), at_ms=0, version=version, reason=reason))


def experiment(
    ctx: typer.Context,
    version: Version,
    share: Annotated[
        float, typer.Option("--share", help="Of the entities, below 1; 0 ends it.", metavar="SHARE")
    ] = 0.5,
    reason: Reason = "",
) -> None:
    """Let VERSION answer a share of the entities until it or the champion proves better. Exit codes as `promote`."""
    if not 0.0 <= share < 1.0:
        raise UsageError(f"models experiment: --share {share:g} is not at least 0 and below 1")
    command = ExperimentCommand(id=_id("experiment"), by=whoami(), at_ms=0, version=version, share=share, reason=reason)
    _ask(ctx, command)


def _id(verb: str) -> str:
    return f"{verb}-{uuid.uuid4()}"


def _ask(ctx: typer.Context, command: Said) -> None:
    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        command = msgspec.structs.replace(command, at_ms=system.clock.now_ms())
        system.log.append([Message("commands", command.id.encode(), encode(command))])
        decision = _answer(system, f"command:{command.id}")
    if decision is None:
        raise DependencyError(
            f"no retrainer has answered within {ANSWER_S:.0f} s; {command.id} waits in the log for one"
        )
    context.show(msgspec.to_builtins(decision), f"{decision.step} {decision.version}: {decision.reason}")
    if decision.step == "refused":
        raise typer.Exit(1)


def _answer(system: System, trigger: str) -> Decision | None:
    """The first decision that is more than a note that the artifact is being checked."""
    deadline_s = system.clock.monotonic_s() + ANSWER_S
    while system.clock.monotonic_s() < deadline_s:
        for decision in decisions_of(system):
            if decision.trigger == trigger and decision.step != "recorded":
                return decision
        time.sleep(0.1)
    return None
