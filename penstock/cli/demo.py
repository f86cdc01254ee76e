"""``penstock demo``: the whole system on a stream with drift at known places; production's roles, and a producer."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer

import pipelines
from penstock.cli import report_file
from penstock.cli.compose import System
from penstock.cli.context import Context, of
from penstock.cli.demo_view import DemoView
from penstock.cli.evaluation import read_history
from penstock.cli.installation import installation, make_folder
from penstock.cli.occupancy import occupied
from penstock.cli.progress import Progress
from penstock.cli.rss import PeakMeter
from penstock.cli.run import address_file
from penstock.cli.supervisor import FRUGAL_GROUPS, SERVING_GROUP, STREAM_GROUPS, Supervisor
from penstock.errors import DependencyError, UsageError
from penstock.log.open import bootstrap_of
from penstock.log.port import Log
from penstock.models.artifact import write_durably
from penstock.spec import Pipeline, load_pipeline
from producers.agrawal import prepared_stream
from producers.datasets import dataset_path, demo_drifts
from producers.drifts import TrueDrift, parse_injection, true_drifts
from producers.injectors import inject
from producers.replay import BacklogPace, Pace, RatePace, Replay
from producers.rows import table_rows
from producers.schedule import StreamRow, Tick, schedule

MARKER = "demo.json"
STREAM = "stream.tsv"
DEFAULT_EVENTS = 20_000
#: A person watches the story for about three minutes.
LIVE_SECONDS = 180.0
#: Flat out, the producer stays at most this many unprocessed records ahead (summed over the stages).
MOST_BEHIND = 200
#: Flat out, hours of stream pass in seconds: snapshots get a larger share of the time than in production.
HEADLESS_SNAPSHOT_SHARE = 0.25
DRAIN_TIMEOUT_S = 120.0
POLL_S = 0.02
SERVING_START_TIMEOUT_S = 60.0


class DemoPlan(msgspec.Struct, frozen=True):
    """What a demo was started with; kept in the data directory so that ``--resume`` continues the same one."""

    dataset: str | None
    events: int
    seed: int


def demo(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="A known public data set instead of the loan stream.", metavar="NAME"),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Flat out, no page; ends with the report.")] = False,
    events: Annotated[
        int | None,
        typer.Option("--events", min=1, help="Rows (default 20000; a data set: at most its rows).", metavar="N"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the stream.", metavar="N")] = 7,
    report: Annotated[Path | None, typer.Option("--report", help="Write the JSON report here.", metavar="FILE")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a demo that was killed.")] = False,
) -> None:
    """Run the whole system on a stream with drift at known places."""
    context = of(ctx)
    started = time.monotonic()
    if bootstrap_of(context.settings.log) is not None:
        raise UsageError("demo: it runs on the embedded log; on Kafka, use `penstock up` and `penstock replay`")
    plan = _resumed_plan(context.data_dir) if resume else DemoPlan(dataset, events or DEFAULT_EVENTS, seed)
    path = pipeline_file(plan.dataset)
    pipeline = load_pipeline(path)
    if plan.dataset is not None:
        dataset_path(plan.dataset, context.settings.datasets_dir)  # is it there? before anything is removed
    report_file.prepare(report)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # as Ctrl-C: the roles are stopped first
    make_folder(context.data_dir)
    with occupied(context.data_dir):
        if not resume:
            _start_afresh(context.data_dir, plan)
        _run(replace(context, pipeline_path=path), plan, pipeline, started, report, headless=headless)


def _run(
    context: Context, plan: DemoPlan, pipeline: Pipeline, started: float, report: Path | None, *, headless: bool
) -> None:
    rows, drifts = _rows(context, plan, pipeline)
    if "log_level" not in context.settings.model_fields_set:  # the view tells what happens; log lines would cut its own
        context = replace(context, settings=context.settings.model_copy(update={"log_level": "warning"}))
    if headless:
        share = {"snapshot_share": HEADLESS_SNAPSHOT_SHARE}
        context = replace(context, settings=context.settings.model_copy(update=share))
    ticks = schedule(rows, pipeline, seed=plan.seed)
    groups = FRUGAL_GROUPS if headless else (*STREAM_GROUPS, SERVING_GROUP)
    with installation(context, pipeline) as system:
        address_file(context.data_dir).unlink(missing_ok=True)
        with Supervisor(context, groups) as supervisor, PeakMeter(lambda: [os.getpid(), *supervisor.pids()]) as meter:
            view = DemoView(pipeline, plan.events, drifts, quiet=context.as_json)
            if not headless:
                view.announce(_wait_for_address(context.data_dir, supervisor))
            _produce(system.log, pipeline, ticks, plan.events, view, supervisor, headless=headless)
            _drain(Progress(system.log, pipeline), supervisor)
            elapsed_s = time.monotonic() - started
            view.finish()
            if not headless:
                _report(context, system, drifts, elapsed_s, meter.peak_mb, report)
                _serve_until_interrupted(context, supervisor)
        if headless:
            _report(context, system, drifts, elapsed_s, meter.peak_mb, report)


def _report(
    context: Context,
    system: System,
    drifts: list[TrueDrift],
    elapsed_s: float,
    peak_rss_mb: float | None,
    path: Path | None,
) -> None:
    from penstock.cli.report import build_report, deliver  # heavy; only now it is needed

    history = read_history(system.log, system.pipeline)
    deliver(context, build_report(system.pipeline, history, drifts, elapsed_s, peak_rss_mb), path)


def pipeline_file(dataset: str | None) -> Path:
    """The pipeline file that ships for a data set (None: the loan stream).

    Raises:
        UsageError: none ships for it.
    """
    directory = Path(next(iter(pipelines.__path__)))
    path = directory / f"{dataset or 'credit'}.py"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in directory.glob("*.py") if p.stem not in ("__init__", "credit")))
        raise UsageError(f"demo: unknown data set {dataset!r}; there are {known}")
    return path


def _rows(context: Context, plan: DemoPlan, pipeline: Pipeline) -> tuple[Iterator[StreamRow], list[TrueDrift]]:
    if plan.dataset is None:
        return prepared_stream(context.data_dir / STREAM, plan.events, plan.seed)
    path = dataset_path(plan.dataset, context.settings.datasets_dir)
    rows = (row for row in table_rows(pipeline, path) if row.row < plan.events)
    texts, own = demo_drifts(plan.dataset, plan.events)
    injections = [parse_injection(text, pipeline) for text in texts]
    drifts = [*own, *true_drifts(injections, plan.events)]
    return inject(rows, pipeline, injections, seed=plan.seed), sorted(drifts, key=lambda drift: drift.row)


def _resumed_plan(data_dir: Path) -> DemoPlan:
    try:
        return msgspec.json.decode((data_dir / MARKER).read_bytes(), type=DemoPlan)
    except OSError as error:
        raise UsageError(f"{data_dir}: no demo to resume here; start one without --resume") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{data_dir / MARKER}: not a demo's marker ({error}); start one without --resume") from error


def _start_afresh(data_dir: Path, plan: DemoPlan) -> None:
    """Remove an earlier demo from the data directory, but never anything that is not a demo's."""
    marker = data_dir / MARKER
    if data_dir.is_dir() and any(data_dir.iterdir()):
        if not marker.is_file():
            raise UsageError(
                f"{data_dir}: holds something that is not a demo; name another folder with --data-dir, or empty it"
            )
        for entry in data_dir.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
    write_durably(marker, msgspec.json.encode(plan))


def _wait_for_address(data_dir: Path, supervisor: Supervisor) -> str:
    deadline = time.monotonic() + SERVING_START_TIMEOUT_S
    while time.monotonic() < deadline:
        supervisor.check()
        try:
            return address_file(data_dir).read_text().strip()
        except FileNotFoundError:
            time.sleep(POLL_S)
    raise DependencyError("serving did not start within a minute; its log lines above say why")


def _produce(
    log: Log,
    pipeline: Pipeline,
    ticks: Iterator[Tick],
    events: int,
    view: DemoView,
    supervisor: Supervisor,
    *,
    headless: bool,
) -> None:
    progress = Progress(log, pipeline)
    pace: Pace = RatePace(events / LIVE_SECONDS)
    if headless:
        pace = BacklogPace(lambda: _backlog(progress, supervisor), MOST_BEHIND)

    def on_row(row: int) -> None:
        view.row(row, progress)
        if not headless:
            supervisor.check()

    Replay(log, ticks, pace, on_row=on_row, resume=True, stream="demo").run(threading.Event())


def _backlog(progress: Progress, supervisor: Supervisor) -> int:
    """The lag; while a fit is under way, more than any limit, so that the producer holds."""
    supervisor.check()
    return MOST_BEHIND + 1 if progress.fitting() else progress.lag()


def _drain(progress: Progress, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while progress.fitting() or progress.lag() > 0:
        supervisor.check()
        if time.monotonic() > deadline:
            raise DependencyError(f"the stages did not catch up within {DRAIN_TIMEOUT_S:.0f} s; continue with --resume")
        time.sleep(POLL_S)


def _serve_until_interrupted(context: Context, supervisor: Supervisor) -> None:
    url = address_file(context.data_dir).read_text().strip()
    typer.echo(f"The stream has ended; the page stays at {url} until Ctrl-C.", err=True)
    with suppress(KeyboardInterrupt):  # this is how a demo that did all it had to do ends: no failure
        while True:
            supervisor.check()
            time.sleep(0.5)
