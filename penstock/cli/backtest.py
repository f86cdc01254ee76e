"""``penstock backtest``: the same stages over history, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from penstock.cli import report_file
from penstock.cli.context import Context, of
from penstock.cli.detection import FOUND_WITHIN
from penstock.cli.kafka import kafka_options
from penstock.cli.log_range import parse_range
from penstock.cli.variants import Variant, parse_variant
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
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            help="Also with these settings, as drift.effect_floor=0.05; may be repeated.",
            metavar="KEY=VALUE[,KEY=VALUE]",
        ),
    ] = None,
    known_drift: Annotated[
        list[str] | None,
        typer.Option("--known-drift", help="A drift that the history is known to have.", metavar="KIND@ROW[:width=N]"),
    ] = None,
    found_within: Annotated[
        int, typer.Option("--found-within", min=0, help="A drift is found by an incident so many rows after it.")
    ] = FOUND_WITHIN,
    members: Annotated[
        bool, typer.Option("--members", help="Also each member of the committee alone (learns the history once more).")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots and tables here.", metavar="FILE")
    ] = None,
) -> None:
    """Run the whole pipeline over history and report how it would have done, also with other settings."""
    # The science is heavy: only who needs it waits for it.
    from penstock.cli.compare import comparison, comparison_text, run_variants
    from penstock.cli.compare_models import compared_models, members_alone
    from penstock.cli.html_report import page
    from penstock.cli.report import deliver

    context = of(ctx)
    if (data is None) == (from_log is None):
        raise UsageError("backtest: give --data FILE or --from-log TOPIC/PARTITION:FROM-TO (one of them)")
    pipeline = context.pipeline()
    delay = None if label_delay is None else parse_delay(label_delay)
    variants = [Variant("as declared", pipeline, {}), *(parse_variant(text, pipeline) for text in compare or [])]
    injections = [parse_injection(text, pipeline) for text in drift or []]
    known = [*injections, *(parse_known(text, pipeline) for text in known_drift or [])]
    for file in (report, html):
        report_file.prepare(file)

    def ticks() -> Iterator[Tick]:
        if data is not None:
            return with_progress(_file_ticks(pipeline, data, delay, injections), quiet=context.as_json)
        return with_progress(_recorded(context, pipeline, str(from_log)), quiet=context.as_json)

    outcomes = list(run_variants(variants, ticks, lambda rows: true_drifts(known, rows) if known else None))
    base = outcomes[0]
    result = dict(base.report)
    compared = comparison(outcomes, found_within)
    compared["models"] = compared_models(base.report)
    if members:
        compared["models"] += members_alone(pipeline, base.history)
    if compare or members:
        result["comparison"] = compared
    deliver(context, result, report)
    if compare and not context.as_json:
        typer.echo(comparison_text(compared))
    if html is not None:
        report_file.write_text(html, page(pipeline, base.history, base.report, compared))
        if not context.as_json:
            typer.echo(f"page: {html}")


def parse_known(text: str, pipeline: Pipeline) -> Injection:
    """A drift that is in the data already, written like one on demand; a feature is told only where it is named.

    Raises:
        UsageError: one line that says what does not fit.
    """
    known = parse_injection(text, pipeline)
    return known if ":feature=" in text else replace(known, feature=None)


def file_ticks(
    pipeline: Pipeline, data: Path, delay: LabelDelay | None, drifts: list[str]
) -> tuple[Iterator[Tick], list[Injection]]:
    """The ticks of a data file with drift injected, and what was injected."""
    injections = [parse_injection(text, pipeline) for text in drifts]
    return _file_ticks(pipeline, data, delay, injections), injections


def _file_ticks(
    pipeline: Pipeline, data: Path, delay: LabelDelay | None, injections: Sequence[Injection]
) -> Iterator[Tick]:
    rows = inject(table_rows(pipeline, data), pipeline, injections, seed=SEED)
    return schedule(rows, pipeline, delay=delay, seed=SEED)


def _recorded(context: Context, pipeline: Pipeline, text: str) -> Iterator[Tick]:
    wanted = parse_range("--from-log", text, ("requests",))
    kafka = kafka_options(context.settings, pipeline.name)
    log = open_log(context.settings.log, context.data_dir, pipeline.name, SystemClock(), kafka)
    return recorded_ticks(log, wanted.partition, wanted.first, wanted.stop)


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
