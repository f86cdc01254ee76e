"""``penstock models``: which versions there were, and what became of each. Read from the log alone."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from penstock.cli import promotion
from penstock.cli.compose import decisions_in, decisions_of
from penstock.cli.context import of, table
from penstock.cli.installation import installation, log_of
from penstock.errors import UsageError
from penstock.events import Decision
from penstock.models.slot import ONLINE

app = typer.Typer(help="The model versions.", no_args_is_help=True)


@app.command("list")
def list_models(ctx: typer.Context) -> None:
    """All versions, oldest first, and which one is the champion."""
    context = of(ctx)
    pipeline = context.pipeline()
    with log_of(context, pipeline) as log:
        versions = versions_of(decisions_in(log, pipeline))
    columns = ["version", "kind", "status", "generation", "trigger", "reason"]
    context.show(versions, table(list(versions), columns))


@app.command("show")
def show(ctx: typer.Context, version: Annotated[str, typer.Argument(metavar="VERSION")]) -> None:
    """Where a version came from: its trigger, data, candidates, gates and decisions."""
    context = of(ctx)
    pipeline = context.pipeline()
    with log_of(context, pipeline) as log:
        decisions = decisions_in(log, pipeline)
    known = [str(entry["version"]) for entry in versions_of(decisions)]
    if version not in known:
        raise UsageError(f"models show: no version {version!r}; there are {', '.join(known)}")
    runs = {d.run_id for d in decisions if d.version == version}
    history = [msgspec.to_builtins(d) for d in decisions if d.run_id in runs]
    lines = [f"{d['step']:<12} {d['trigger']}: {d['reason']}" for d in history]
    context.show({"version": version, "decisions": history}, "\n".join(lines) or f"{version}: no decision yet")


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


def versions_of(decisions: list[Decision]) -> list[dict[str, object]]:
    """One entry per version, from the chain of decisions. The champion starts as ``online``."""
    entries: dict[str, dict[str, object]] = {ONLINE: _entry(ONLINE, "online", "champion")}
    champion, before = ONLINE, dict[str, str]()
    for decision in decisions:
        if not decision.version or decision.step in ("settled", "not_started", "refused", "recorded"):
            continue
        kind = "online" if decision.version == ONLINE else "batch"
        entry = entries.setdefault(decision.version, _entry(decision.version, kind, decision.step))
        crowned = decision.step in ("promoted", "rolled_back")
        if crowned:
            left = "archived" if decision.step == "promoted" else "rolled back"
            entries[champion]["status"] = left if champion != ONLINE else "shadow"
            champion = decision.version
            entry["generation"] = decision.generation
        if decision.run_id.startswith("experiment:") and not crowned:
            # What it was before, an experiment does not change.
            before.setdefault(decision.version, str(entry["status"]))
            entry["status"] = "experiment" if decision.step == "canary" else before.pop(decision.version)
        elif decision.version != champion or crowned:
            entry["status"] = "champion" if crowned else decision.step
            before.pop(decision.version, None)
        entry["trigger"], entry["reason"] = decision.trigger, decision.reason
    return list(entries.values())


def _entry(version: str, kind: str, status: str) -> dict[str, object]:
    return {"version": version, "kind": kind, "status": status, "generation": 0, "trigger": "", "reason": ""}
