"""``penstock models approve | reject | promote | rollback | experiment``: a person says which version serves."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from penstock.cli.asking import Asked, ask
from penstock.cli.context import of
from penstock.cli.installation import installation
from penstock.cli.retrain import whoami
from penstock.errors import UsageError
from penstock.events import ApprovalCommand, ExperimentCommand, PromoteCommand, RollbackCommand

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


def _ask(ctx: typer.Context, command: Asked) -> None:
    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        ask(context, system, command)
