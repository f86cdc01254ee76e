"""``penstock incidents``: the reports on drift incidents and rollbacks."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from online.policy.advice import moment
from penstock.cli.context import of, table
from penstock.cli.evaluation import records
from penstock.cli.installation import log_of
from penstock.contract import decoder_for
from penstock.errors import UsageError
from penstock.events import IncidentReport
from penstock.log.port import Log
from penstock.spec import Pipeline

app = typer.Typer(help="Reports on drift incidents and rollbacks.", no_args_is_help=True)


def reports_in(log: Log, pipeline: Pipeline) -> list[IncidentReport]:
    """The newest report on each incident, in the order in which they opened."""
    decode = decoder_for("incident-reports", pipeline)
    newest: dict[str, IncidentReport] = {}
    for record in records(log, "incident-reports"):
        report = decode(record.value)
        if isinstance(report, IncidentReport):
            newest[report.id] = report
    return sorted(newest.values(), key=lambda report: report.opened_ms)


@app.command("list")
def list_incidents(
    ctx: typer.Context,
    open_: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
) -> None:
    """All incidents, oldest first."""
    context = of(ctx)
    pipeline = context.pipeline()
    with log_of(context, pipeline) as log:
        found = [report for report in reports_in(log, pipeline) if not open_ or report.status == "open"]
    rows = [
        {
            "id": report.id,
            "kind": report.kind,
            "status": report.status,
            "level": report.level,
            "opened": moment(report.opened_ms),
            "title": report.title,
        }
        for report in found
    ]
    context.show(rows, table(list(rows), ["id", "kind", "status", "level", "opened", "title"]) or "no incident yet")


@app.command("show")
def show(ctx: typer.Context, identity: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """The report on one incident, in Markdown."""
    context = of(ctx)
    pipeline = context.pipeline()
    with log_of(context, pipeline) as log:
        found = {report.id: report for report in reports_in(log, pipeline)}
    if identity not in found:
        newest = ", ".join(list(found)[-5:]) or "none yet"
        raise UsageError(f"incidents show: no incident {identity!r}; the newest are: {newest}")
    report = found[identity]
    context.show(msgspec.to_builtins(report), report.markdown.rstrip())
