"""``penstock replay``: a data file as traffic."""

from __future__ import annotations

import math
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.backtest import file_ticks, with_progress
from penstock.cli.context import of
from penstock.cli.installation import installation
from penstock.cli.progress import Progress
from penstock.errors import UsageError
from producers.labels import parse_delay
from producers.replay import BacklogPace, Pace, RatePace, Replay

#: Without a rate: as fast as the stages keep up, this many records ahead of them at most.
MOST_BEHIND = 2000


def replay(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option("--data", help="A CSV file (gzip by suffix).", metavar="FILE")],
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Rows per second (default: as fast as the stages keep up).", metavar="N"),
    ] = None,
    label_delay: Annotated[
        str | None, typer.Option("--label-delay", help="Rows (500) or a duration (90s, 12h, 7d).", metavar="D")
    ] = None,
    drift: Annotated[
        list[str] | None, typer.Option("--drift", help="Inject drift: KIND@ROW[:feature=F][:width=N].", metavar="SPEC")
    ] = None,
) -> None:
    """Send a file's rows as requests, and their labels after their delay."""
    context = of(ctx)
    if rate is not None and not 0.0 < rate < math.inf:
        raise UsageError("replay: --rate must be a number of rows per second, more than 0")
    pipeline = context.pipeline()
    delay = None if label_delay is None else parse_delay(label_delay)
    ticks, _ = file_ticks(pipeline, data, delay, drift or [])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sent = 0

    def count(row: int) -> None:
        nonlocal sent
        sent = row + 1

    with installation(context, pipeline) as system:
        pace: Pace = RatePace(rate) if rate else BacklogPace(Progress(system.log, pipeline).lag, MOST_BEHIND)
        Replay(system.log, with_progress(ticks, quiet=context.as_json), pace, on_row=count).run(stop)
    context.show({"rows": sent}, f"{sent} rows sent")
