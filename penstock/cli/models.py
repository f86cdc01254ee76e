"""``penstock models``: which versions there were, and what became of each. Read from the log alone."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import promotion
from penstock.cli.compose import decisions_in, decisions_of
from penstock.cli.context import of, table
from penstock.cli.installation import installation, log_of
from penstock.cli.model_card import card
from penstock.cli.model_history import show, versions_of
from penstock.models.slot import ONLINE

app = typer.Typer(help="The model versions.", no_args_is_help=True)
app.command("card")(card)
app.command("show")(show)


@app.command("list")
def list_models(ctx: typer.Context) -> None:
    """All versions, oldest first, and which one is the champion."""
    context = of(ctx)
    pipeline = context.pipeline()
    with log_of(context, pipeline) as log:
        versions = versions_of(decisions_in(log, pipeline))
    columns = ["version", "kind", "status", "generation", "trigger", "reason"]
    context.show(versions, table(list(versions), columns))


@app.command("rebuild")
def rebuild(ctx: typer.Context, version: Annotated[str, typer.Argument(metavar="VERSION")]) -> None:
    """Make a version again from the log and compare its scores with those of the published one; exit 1 if they differ.

    VERSION is `online` (the newest snapshot of each partition), `online@N` (the one after N examples), or a batch
    version: that is fitted again on the examples that its run recorded. Nothing is written.
    """
    from penstock.cli.rebuild import online_records, rebuild_online
    from penstock.cli.rebuild_batch import rebuild_batch

    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        if version.startswith(ONLINE):
            found = [rebuild_online(system, record) for record in online_records(system, version)]
        else:
            found = [rebuild_batch(system, decisions_of(system), version)]
    identical = all(rebuilt.identical for rebuilt in found)
    rows = [{**rebuilt._asdict(), "identical": rebuilt.identical} for rebuilt in found]
    columns = ["version", "partition", "snapshot", "base", "start", "stop", "examples", "rows", "difference", "seconds"]
    text = table(list(rows), [*columns, *(["note"] if any(rebuilt.note for rebuilt in found) else [])])
    verdict = "identical" if identical else "DIFFERENT: the log does not give the published model"
    context.show({"identical": identical, "models": rows}, f"{text}\n{verdict}")
    if not identical:
        raise typer.Exit(1)


for verb in (promotion.approve, promotion.reject, promotion.promote, promotion.rollback, promotion.experiment):
    app.command()(verb)
