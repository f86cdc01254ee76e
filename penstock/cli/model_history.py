"""``penstock models show``: where a version came from, and what became of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from penstock.cli.context import of
from penstock.cli.installation import log_of
from penstock.cli.provenance import online_links, placed, version_links
from penstock.errors import UsageError
from penstock.events import Decision
from penstock.models.slot import ONLINE


def show(ctx: typer.Context, version: Annotated[str, typer.Argument(metavar="VERSION")]) -> None:
    """Where a version came from: trigger, data, gates, approver, and all decisions on it, each with its offset."""
    context = of(ctx)
    pipeline = context.pipeline()
    with log_of(context, pipeline) as log:
        decisions = placed(log, pipeline, "decisions")
        entries = versions_of([d.event for d in decisions])
        entry = next((entry for entry in entries if entry["version"] == version), None)
        if entry is None:
            known = ", ".join(str(entry["version"]) for entry in entries)
            raise UsageError(f"models show: no version {version!r}; there are {known}")
        links = version_links(log, pipeline, decisions, version)
        if version == ONLINE:
            links += online_links(log, pipeline, None, None)
    runs = {d.event.run_id for d in decisions if d.event.version == version}
    history = [msgspec.to_builtins(d.event) for d in decisions if d.event.run_id in runs]
    lines = [f"{version}: {entry['kind']}, {entry['status']}, generation {entry['generation']}"]
    lines += [described.line for described in links]
    shown = {**entry, "decisions": history, "links": [described._asdict() for described in links]}
    context.show(shown, "\n".join(lines) if links else f"{lines[0]}; no decision yet")


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
