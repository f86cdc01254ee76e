"""``penstock retrain``: a person asks for a batch retrain."""

from __future__ import annotations

import getpass
import uuid
from typing import Annotated

import typer

from penstock.cli.asking import ask
from penstock.cli.context import of
from penstock.cli.installation import installation
from penstock.events import RetrainCommand


def retrain(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the record.", metavar="TEXT")] = "",
) -> None:
    """Start a run on the newest labelled rows. Exit 1 where another run is going on or the day's budget is used up."""
    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        command = RetrainCommand(id=f"retrain-{uuid.uuid4()}", by=whoami(), at_ms=0, reason=reason)
        ask(context, system, command)


def whoami() -> str:
    """The name of who runs this command, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
