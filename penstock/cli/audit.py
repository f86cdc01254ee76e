"""``penstock audit``: the trail of every command and decision, and whether it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import msgspec
import typer

from online.policy.advice import moment
from penstock.cli.compose import System
from penstock.cli.context import Context, of, table
from penstock.cli.evaluation import records
from penstock.cli.installation import installation, log_of, registry_of
from penstock.cli.provenance import Placed, placed
from penstock.contract import decoder_for
from penstock.errors import UsageError
from penstock.events import Decision, Evidence
from penstock.log.port import Log, TopicPartition
from penstock.log.search import between
from penstock.runtime.loop import group_name
from penstock.spec import Pipeline

app = typer.Typer(help="The trail of commands and decisions.", no_args_is_help=True)

DECISIONS = TopicPartition("decisions", 0)
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


@app.command("verify")
def verify(
    ctx: typer.Context,
    head: Annotated[
        str, typer.Option("--head", help="What `audit head` said earlier: it must still hold.", metavar="SEQ:HASH")
    ] = "",
    registry: Annotated[
        bool, typer.Option("--registry", help="Ask the registry (MLflow) too: it takes seconds to load.")
    ] = False,
) -> None:
    """Check the chain of decisions, and what it says of models, artifacts and commands. Exit 1 if anything is wrong."""
    context = of(ctx)
    pinned = _HEAD.fullmatch(head)
    if head and pinned is None:
        raise UsageError(f"--head {head!r}: write SEQ:HASH as `penstock audit head` prints it")
    with installation(context, context.pipeline()) as system:
        shown = verified(context, system, (int(pinned[1]), pinned[2]) if pinned else None, registry=registry)
    problems = cast(list[dict[str, str]], shown["problems"])
    counted = ", ".join(f"{count} {what}" for what, count in cast(dict[str, int], shown["checked"]).items())
    lines = [f"{problem['where']}: {problem['what']}" for problem in problems]
    verdict = "whole" if not problems else f"NOT whole: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
    context.show(shown, "\n".join([*lines, f"{verdict}; checked {counted}"]))
    if problems:
        raise typer.Exit(1)


def verified(
    context: Context, system: System, pinned: tuple[int, str] | None, *, registry: bool = False
) -> dict[str, object]:
    """What was checked, and all problems. A broken chain is the only problem then: the rest rests on it.

    The positions of the groups are read first, the decisions last, up to where they ended when the models were read:
    so what is written meanwhile is no problem.
    """
    from retraining.verification import (
        Problem,
        artifact_problems,
        command_problems,
        head_problem,
        model_problems,
        registry_problems,
        versions_in,
        whole_chain,
    )

    log, pipeline = system.log, system.pipeline
    position = _position(log, pipeline, "retrainer", "commands")
    evidence_position = _position(log, pipeline, "incidents", "evidence")
    commands = placed(log, pipeline, "commands")
    models, end = _models(log, pipeline)
    registered = registry_of(context, pipeline).versions() if registry else []
    chain = whole_chain(between(log, DECISIONS, 0, end), decoder_for("decisions", pipeline))
    problems: list[Problem] = []
    checked = {"decisions": len(chain.decisions)}
    if chain.broken is not None:
        problems.append(chain.broken)
    else:
        changes = [change for change in _changes(log, pipeline) if change.record.offset < evidence_position]
        checked |= {"commands": len(commands), "models records": len(models), "policy changes": len(changes)}
        checked |= {"artifacts": len(versions_in(chain.decisions))}
        found = None if pinned is None else head_problem(chain.decisions, *pinned)
        problems += [found] if found else []
        problems += command_problems(chain.decisions, [(c.record, c.event) for c in commands], position)
        known = {c.event.id for c in commands} | {decision.command for decision in chain.decisions}
        problems += [
            Problem(f"evidence/0:{change.record.offset}", f"drift policy change {change.event.record_id} is no command")
            for change in changes
            if change.event.record_id not in known
        ]
        problems += model_problems(chain.decisions, [(m.record, m.event) for m in models])
        problems += artifact_problems(chain.decisions, system.artifacts)
        if registry:
            checked["registered versions"] = len(registered)
            problems += registry_problems(chain.decisions, registered)
    newest = chain.decisions[-1] if chain.decisions else None
    return {
        "whole": not problems,
        "head": None if newest is None else f"{newest.seq}:{newest.hash}",
        "checked": checked,
        "problems": [problem._asdict() for problem in problems],
    }


def _models(log: Log, pipeline: Pipeline) -> tuple[list[Placed], int]:
    """The records of ``models``, and the end of the decisions that they go with: both are written at once."""
    while True:
        end = log.bounds(DECISIONS).end
        models = placed(log, pipeline, "models")
        if log.bounds(DECISIONS).end == end:
            return models, end


def _position(log: Log, pipeline: Pipeline, stage: str, topic: str) -> int:
    return log.committed(group_name(pipeline.name, stage), TopicPartition(topic, 0)) or 0


def _changes(log: Log, pipeline: Pipeline) -> Iterable[Placed]:
    decode = decoder_for("evidence", pipeline)
    for record in records(log, "evidence"):
        if b'"policy"' in record.value:  # spares decoding the looks, nearly all there is
            event = decode(record.value)
            if isinstance(event, Evidence) and event.stage == "policy":
                yield Placed(record, event)


@app.command("log")
def log_(
    ctx: typer.Context,
    since: Annotated[
        str, typer.Option("--since", help="From this time on: YYYY-MM-DD or YYYY-MM-DDTHH:MM (UTC).", metavar="TIME")
    ] = "",
    by: Annotated[str, typer.Option("--by", help="What this person or program asked for.", metavar="NAME")] = "",
    version: Annotated[str, typer.Option("--version", help="What is about this version.", metavar="VERSION")] = "",
) -> None:
    """All decisions, oldest first: when they were written, what, by whom, and why."""
    context = of(ctx)
    pipeline = context.pipeline()
    earliest_ms = _time(since) if since else None
    with log_of(context, pipeline) as log:
        found = [
            d
            for d in placed(log, pipeline, "decisions")
            if (earliest_ms is None or d.record.timestamp_ms >= earliest_ms)
            and by in ("", d.event.by)
            and version in ("", d.event.version)
        ]
    rows = [_row(d) for d in found]
    columns = ["seq", "written", "step", "version", "by", "trigger", "reason"]
    shown = [
        {**msgspec.to_builtins(d.event), "offset": d.record.offset, "written_ms": d.record.timestamp_ms} for d in found
    ]
    context.show(shown, table(list(rows), columns) or "no decision fits")


def _row(d: Placed) -> dict[str, Any]:
    decision: Decision = d.event
    return {
        "seq": decision.seq,
        "written": moment(d.record.timestamp_ms),
        "step": decision.step,
        "version": decision.version,
        "by": decision.by,
        "trigger": decision.trigger,
        "reason": decision.reason,
    }


def _time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise UsageError(f"--since {text!r}: write YYYY-MM-DD or YYYY-MM-DDTHH:MM (UTC)") from error


@app.command("head")
def head(ctx: typer.Context) -> None:
    """The newest decision as SEQ:HASH. Kept elsewhere, it proves later that nothing up to it changed or went away."""
    context = of(ctx)
    pipeline = context.pipeline()
    with log_of(context, pipeline) as log:
        decisions = placed(log, pipeline, "decisions")
    if not decisions:
        raise UsageError("audit head: no decision yet, so there is nothing to pin")
    newest: Decision = decisions[-1].event
    context.show({"seq": newest.seq, "hash": newest.hash}, f"{newest.seq}:{newest.hash}")
