"""``penstock drift policy``: see and change the thresholds of a running pipeline's drift policy."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Annotated

import msgspec
import typer

from online.policy.thresholds import changed, effective
from penstock.cli.context import Context, of, table
from penstock.cli.evaluation import records
from penstock.cli.installation import installation, log_of
from penstock.cli.retrain import whoami
from penstock.contract import decoder_for
from penstock.errors import UsageError
from penstock.events import DriftThresholds, Evidence, PolicyChange, encode
from penstock.log.port import Log, Message
from penstock.spec import Pipeline

app = typer.Typer(help="Thresholds of the drift policy of a running pipeline.", no_args_is_help=True)

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; goes into the record.", metavar="TEXT")]


@app.command("show")
def show(ctx: typer.Context) -> None:
    """The thresholds as declared in the pipeline file, and as changed by the records that the log still has."""
    context = of(ctx)
    pipeline = context.pipeline()
    with log_of(context, pipeline) as log:
        thresholds = _changes(log, pipeline)
    declared, now = asdict(pipeline.drift), asdict(effective(pipeline.drift, thresholds))
    rows = [
        {"threshold": name, "declared": declared[name], "now": now[name]} for name in DriftThresholds.__struct_fields__
    ]
    context.show(rows, table(list(rows), ["threshold", "declared", "now"]))


@app.command("set")
def set_(
    ctx: typer.Context,
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", show_default=False)],
    reason: ReasonOption = "",
) -> None:
    """Change thresholds from now on; what is open is judged by them too. Shown under `penstock drift policy show`."""
    _append(of(ctx), PolicyChange(by=whoami(), thresholds=parsed(assignments), reason=reason))


@app.command("reset")
def reset(ctx: typer.Context, reason: ReasonOption = "") -> None:
    """Undo all changes: from now on the thresholds are those of the pipeline file."""
    _append(of(ctx), PolicyChange(by=whoami(), thresholds=DriftThresholds(), reset=True, reason=reason))


def parsed(assignments: list[str]) -> DriftThresholds:
    """Thresholds from ``KEY=VALUE`` texts.

    Raises:
        UsageError: no such threshold, no number, or a number that it cannot be.
    """
    values: dict[str, str] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or name not in DriftThresholds.__struct_fields__:
            raise UsageError(
                f"drift policy set {text!r}: write KEY=VALUE, KEY one of {', '.join(DriftThresholds.__struct_fields__)}"
            )
        values[name] = value
    try:
        return msgspec.convert(values, DriftThresholds, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"drift policy set: {error}") from error


def _append(context: Context, change: PolicyChange) -> None:
    with installation(context, context.pipeline()) as system:
        event = Evidence(
            stage="policy",
            partition=0,
            seen=0,
            record_id=f"policy-{uuid.uuid4()}",
            event_time_ms=system.clock.now_ms(),
            generation=0,
            findings=[],
            change=change,
        )
        system.log.append([Message("evidence", event.record_id.encode(), encode(event))])
    context.show({"id": event.record_id}, f"changed the drift policy: {event.record_id}")


def _changes(log: Log, pipeline: Pipeline) -> DriftThresholds:
    decode, thresholds = decoder_for("evidence", pipeline), DriftThresholds()
    for record in records(log, "evidence"):
        if b'"policy"' in record.value:  # spares decoding the looks, nearly all there is
            event = decode(record.value)
            if isinstance(event, Evidence) and event.stage == "policy" and event.change is not None:
                thresholds = changed(thresholds, event.change)
    return thresholds
