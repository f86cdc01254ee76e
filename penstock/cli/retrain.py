"""``penstock retrain``: a person asks for a batch retrain."""

from __future__ import annotations

import getpass
import uuid
from typing import Annotated

import typer

from penstock.cli.context import of
from penstock.cli.installation import installation
from penstock.events import RetrainCommand, encode
from penstock.log.port import Message


def retrain(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the record.", metavar="TEXT")] = "",
) -> None:
    """Ask for a batch retrain on the newest labelled rows; the decision appears in `penstock events tail decisions`."""
    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        command = RetrainCommand(id=f"retrain-{uuid.uuid4()}", by=whoami(), at_ms=system.clock.now_ms(), reason=reason)
        system.log.append([Message("commands", command.id.encode(), encode(command))])
    context.show({"id": command.id}, f"asked for a retrain: {command.id}")


def whoami() -> str:
    """The name of who runs this command, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
