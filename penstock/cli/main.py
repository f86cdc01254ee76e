"""``penstock``: the command line.

Exit codes: 0 done; 1 the check failed; 2 bad usage or bad input; 3 a dependency is unavailable or does not fit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from penstock import __version__
from penstock.cli import (
    audit,
    backtest,
    backup,
    datasets,
    dead_letters,
    demo,
    doctor,
    drift,
    events,
    incidents,
    init,
    models,
    notify,
    replay,
    restore,
    retrain,
    retraining,
    run,
    topics,
    trace,
    up,
)
from penstock.cli.context import Context
from penstock.errors import PenstockError
from penstock.settings import load_settings
from penstock.telemetry import configure_logging

GLOBAL_WITH_VALUE = ("--pipeline", "--data-dir", "--log")
GLOBAL_FLAGS = ("--json",)

app = typer.Typer(
    name="penstock",
    help="A gated pipe from a river of events to a served model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    pipeline: Annotated[Path | None, typer.Option("--pipeline", help="The pipeline file.", metavar="FILE")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where everything is kept (default ./.penstock).", metavar="DIR")
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", help="Where the log is (default: embedded).", metavar="URL")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Global options; they may stand before or after the command."""
    settings = load_settings()
    given = {"data_dir": data_dir, "log": log}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    configure_logging(settings)
    del version  # its callback has answered already
    ctx.obj = Context(settings, pipeline, as_json)


app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("run")(run.run)
app.command("init")(init.init)
app.command("replay")(replay.replay)
app.command("backtest")(backtest.backtest)
app.add_typer(audit.app, name="audit")
app.add_typer(datasets.app, name="datasets")
app.add_typer(drift.app, name="drift")
app.add_typer(events.app, name="events")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(incidents.app, name="incidents")
app.add_typer(models.app, name="models")
app.add_typer(notify.app, name="notify")
app.add_typer(topics.app, name="topics")
app.command("retrain")(retrain.retrain)
app.add_typer(retraining.app, name="retraining")
app.command("trace")(trace.trace)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("restore")(restore.restore)


def hoist_globals(arguments: list[str]) -> list[str]:
    """``arguments`` with the global options moved to the front, so that they may stand anywhere."""
    front: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        name = argument.partition("=")[0]
        if argument == "--":
            rest.extend(arguments[position:])
            break
        if argument in GLOBAL_FLAGS or (name in GLOBAL_WITH_VALUE and "=" in argument):
            front.append(argument)
        elif argument in GLOBAL_WITH_VALUE:
            front.extend(arguments[position : position + 2])
            position += 1
        else:
            rest.append(argument)
        position += 1
    return front + rest


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit. Errors of ours are one line on standard error; bugs keep their traceback."""
    try:
        code = app(hoist_globals(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except TyperException as error:
        format_message = getattr(error, "format_message", None)
        said = format_message() if format_message else str(error)
        if said:  # a group of commands alone has shown its help already
            sys.stderr.write(f"penstock: {said}\n")
        sys.exit(2)
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
