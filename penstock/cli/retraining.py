"""``penstock retraining``: what it does and waits for; switch it off and on; end a run."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from online.policy.advice import moment
from penstock.cli.asking import ask
from penstock.cli.compose import decisions_in
from penstock.cli.context import of
from penstock.cli.installation import installation
from penstock.cli.retrain import whoami
from penstock.events import CancelCommand, PauseCommand
from penstock.runtime.loop import group_name

if TYPE_CHECKING:
    from retraining.status import Status

#: Reasons that the text shows.
SHOWN = 5

app = typer.Typer(help="What retraining does and waits for; pause, resume, cancel.", no_args_is_help=True)

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; goes into the record.", metavar="TEXT")]


@app.command("status")
def show_status(ctx: typer.Context) -> None:
    """Whether retraining is paused, the run that is going on, what is left of the budget, what is due, and why not."""
    from retraining.schedule import Scheduler
    from retraining.start import started_retrainer
    from retraining.status import status

    context = of(ctx)
    pipeline = context.pipeline()
    with installation(context, pipeline) as system:
        scheduler = Scheduler(pipeline, system.log, system.clock)
        upcoming = scheduler.upcoming()
        scheduler.close()
        retrainer = started_retrainer(pipeline, system.log, group_name(pipeline.name, "retrainer"))
        decisions = decisions_in(system.log, pipeline)[: retrainer.state.next_seq]
    found = status(pipeline, retrainer.state, retrainer.progress, decisions, upcoming)
    context.show(found, _text(found, pipeline.retraining.daily_runs))


@app.command("pause")
def pause(ctx: typer.Context, reason: ReasonOption = "") -> None:
    """Let nothing start a run but a person. A run that is going on goes on. Exit 1 where it is paused already."""
    _switch(ctx, paused=True, reason=reason)


@app.command("resume")
def resume(ctx: typer.Context, reason: ReasonOption = "") -> None:
    """Let triggers start runs again. Exit 1 where retraining is not paused."""
    _switch(ctx, paused=False, reason=reason)


@app.command("cancel")
def cancel(
    ctx: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Default: the run that is going on.")] = "",
    reason: ReasonOption = "",
) -> None:
    """End the run that is going on; what serves stays. Exit 1 where there is none, or another than RUN."""
    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        command = CancelCommand(id=f"cancel-{uuid.uuid4()}", by=whoami(), at_ms=0, run_id=run_id, reason=reason)
        ask(context, system, command)


def _switch(ctx: typer.Context, *, paused: bool, reason: str) -> None:
    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        name = "pause" if paused else "resume"
        command = PauseCommand(id=f"{name}-{uuid.uuid4()}", by=whoami(), at_ms=0, paused=paused, reason=reason)
        ask(context, system, command)


def _text(found: Status, daily_runs: int) -> str:
    paused, run = found.paused, found.run
    lines = ["retraining: on" if found.enabled else "retraining: switched off in the pipeline"]
    if paused is not None:
        lines = [f"retraining: paused since {moment(paused.event_time_ms)}, {paused.reason}"]
    lines.append(f"run: none, {found.labelled} labelled rows so far" if run is None else _run_line(found))
    lines.append(f"budget: {found.runs_left} of {daily_runs} runs left within 24 hours")
    if found.cooldown_until is not None:
        lines.append(f"cooldown: until labelled row {found.cooldown_until} (now {found.labelled})")
    if found.waiting is not None:
        lines.append(f"waiting: {found.waiting.trigger}, {found.waiting.reason}")
    lines += [f"next: {moment(due.at_ms)} ({due.schedule})" for due in found.upcoming]
    lines += [
        f"not started: {moment(told.event_time_ms)} {told.trigger}: {told.reason}" for told in found.not_started[:SHOWN]
    ]
    return "\n".join(lines)


def _run_line(found: Status) -> str:
    run = found.run
    if run is None:
        return ""
    version = f", {run.version}" if run.version else ""
    return f"run: {run.run_id} ({run.phase}{version}), {run.rows} labelled rows, triggered by {run.trigger}"
