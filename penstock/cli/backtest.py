"""``penstock backtest``: the same stages over history, in virtual time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from penstock.cli import report_file
from penstock.cli.context import Context, of
from penstock.cli.evaluation import read_history
from penstock.cli.kafka import kafka_options
from penstock.cli.rss import own_peak_mb
from penstock.clock import SystemClock
from penstock.errors import UsageError
from penstock.log.open import open_log
from penstock.spec import Pipeline
from producers.drifts import Injection, parse_injection, true_drifts
from producers.injectors import inject
from producers.labels import LabelDelay, parse_delay
from producers.recorded import recorded_ticks
from producers.rows import table_rows
from producers.schedule import Tick, schedule

_RANGE = re.compile(r"^(?P<topic>[a-z-]+)/(?P<partition>\d+):(?P<first>\d+)-(?P<stop>\d+)$")
SEED = 7


def backtest(
    ctx: typer.Context,
    data: Annotated[Path | None, typer.Option("--data", help="A CSV file (gzip by suffix).", metavar="FILE")] = None,
    from_log: Annotated[
        str | None, typer.Option("--from-log", help="A range of recorded requests.", metavar="TOPIC/PARTITION:FROM-TO")
    ] = None,
    label_delay: Annotated[
        str | None, typer.Option("--label-delay", help="Rows (500) or a duration (90s, 12h, 7d).", metavar="D")
    ] = None,
    drift: Annotated[
        list[str] | None, typer.Option("--drift", help="Inject drift: KIND@ROW[:feature=F][:width=N].", metavar="SPEC")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the JSON report here.", metavar="FILE")] = None,
) -> None:
    """Run the whole pipeline over history and report how it would have done."""
    # The science is heavy: only who needs it waits for it.
    from penstock.cli.report import build_report, deliver
    from penstock.cli.virtual import run_virtual

    context = of(ctx)
    if (data is None) == (from_log is None):
        raise UsageError("backtest: give --data FILE or --from-log TOPIC/PARTITION:FROM-TO (one of them)")
    pipeline = context.pipeline()
    delay = None if label_delay is None else parse_delay(label_delay)
    report_file.prepare(report)
    injections: list[Injection] = []
    if data is not None:
        ticks, injections = file_ticks(pipeline, data, delay, drift or [])
    else:
        ticks = _recorded(context, pipeline, str(from_log))
    started = time.perf_counter()
    run = run_virtual(pipeline, with_progress(ticks, quiet=context.as_json), lambda _: None)
    elapsed_s = time.perf_counter() - started
    history = read_history(run.system.log, pipeline)
    known = true_drifts(injections, len(history.rows.appended_ms)) if injections else None
    result = build_report(pipeline, history, known, elapsed_s, own_peak_mb())
    deliver(context, result, report)


def file_ticks(
    pipeline: Pipeline, data: Path, delay: LabelDelay | None, drifts: list[str]
) -> tuple[Iterator[Tick], list[Injection]]:
    """The ticks of a data file with drift injected, and what was injected."""
    injections = [parse_injection(text, pipeline) for text in drifts]
    rows = inject(table_rows(pipeline, data), pipeline, injections, seed=SEED)
    return schedule(rows, pipeline, delay=delay, seed=SEED), injections


def _recorded(context: Context, pipeline: Pipeline, text: str) -> Iterator[Tick]:
    match = _RANGE.match(text)
    if match is None or match["topic"] != "requests":
        raise UsageError(f"--from-log {text!r}: write requests/PARTITION:FROM-TO, for instance requests/0:0-5000")
    kafka = kafka_options(context.settings, pipeline.name)
    log = open_log(context.settings.log, context.data_dir, pipeline.name, SystemClock(), kafka)
    return recorded_ticks(log, int(match["partition"]), int(match["first"]), int(match["stop"]))


def with_progress(ticks: Iterator[Tick], *, quiet: bool) -> Iterator[Tick]:
    """``ticks``, with a progress line on standard error while a person watches."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield from ticks
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("rows", total=None)
        for tick in ticks:
            yield tick
            progress.update(task, completed=tick.row + 1)
