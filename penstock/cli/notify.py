"""``penstock notify``: whom alerts are sent to, and whether a message gets there; and the notifier's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from consumers.notifier import SEVERITIES, Notifier, Routes, Severity, Target
from penstock.cli.compose import System
from penstock.cli.context import of, table
from penstock.errors import UsageError
from penstock.settings import Settings

#: Pauses while there is nothing to tell, and while another process tells.
EVERY_S = 0.5

app = typer.Typer(help="Alerts to people.", no_args_is_help=True)


def routes_of(settings: Settings) -> Routes:
    """Whom alerts of each severity are sent to.

    Raises:
        UsageError: an URL is none that Apprise knows.
        DependencyError: an URL is set, and Apprise is not installed.
    """
    named = {
        "info": ("notify_info_urls",),
        "warning": ("notify_warning_urls", "notify_urls"),
        "critical": ("notify_critical_urls", "notify_urls"),
    }
    made: dict[str, Sequence[Target]] = {}
    routes: dict[Severity, Sequence[Target]] = {}
    for severity in SEVERITIES:
        name = next((name for name in named[severity] if getattr(settings, name) is not None), "")
        if name and name not in made:
            from consumers.apprise_targets import apprise_targets

            made[name] = apprise_targets(getattr(settings, name).get_secret_value(), f"PENSTOCK_{name.upper()}")
        routes[severity] = made.get(name, ())
    return routes


def notified(system: System, routes: Routes, tells: Callable[[], bool], stop: threading.Event) -> None:
    """Send alerts until ``stop`` is set, while ``tells`` says that this process is the one to do it.

    The log is followed afresh whenever that begins: another process may have told people meanwhile.
    """
    while not stop.is_set():
        if not tells():
            stop.wait(EVERY_S)
            continue
        notifier = Notifier(system.pipeline, system.log, routes, system.clock, system.telemetry)
        try:
            while tells() and not stop.is_set():
                if not notifier.step():
                    stop.wait(EVERY_S)
        finally:
            notifier.close()


@app.command("test")
def send_test(
    ctx: typer.Context,
    severity: Annotated[
        str, typer.Option("--severity", help=f"Of one severity only: {', '.join(SEVERITIES)}.", metavar="NAME")
    ] = "",
) -> None:
    """Send a test message to everyone whom alerts are sent to. Exit 1 where one does not take it."""
    context = of(ctx)
    if severity and severity not in SEVERITIES:
        raise UsageError(f"--severity {severity!r}: one of {', '.join(SEVERITIES)}")
    routes = routes_of(context.settings)
    wanted = [name for name in SEVERITIES if severity in ("", name)]
    rows: list[dict[str, object]] = []
    for name in wanted:
        for target in routes[name]:
            why = target.send(f"Penstock: test of {name} alerts", "Somebody ran `penstock notify test`.", name)
            rows.append({"severity": name, "target": target.name, "taken": not why, "why": why})
    if not rows:
        raise UsageError(f"notify test: no URL is set for {', '.join(wanted)} alerts; set PENSTOCK_NOTIFY_URLS")
    context.show(rows, table(list(rows), ["severity", "target", "taken", "why"]))
    if not all(row["taken"] for row in rows):
        raise typer.Exit(1)
