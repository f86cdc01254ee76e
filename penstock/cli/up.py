"""``penstock up``: all roles on this machine."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from penstock.cli.compose import state_dir
from penstock.cli.context import of
from penstock.cli.installation import installation, make_folder
from penstock.cli.occupancy import occupied
from penstock.cli.run import address_file, mismatch_options
from penstock.cli.stopping import stopped_by_signals
from penstock.cli.supervisor import SERVING_GROUP, STREAM_GROUPS, Supervisor, several
from penstock.errors import UsageError

CHECK_EVERY_S = 0.5


def up(
    ctx: typer.Context,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Fold state again from the log where the checkpoints no longer fit.")
    ] = False,
    new_epoch: Annotated[
        bool, typer.Option("--new-epoch", help="Start fresh from here where the checkpoints no longer fit.")
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes per stream role; they share its partitions.", metavar="N")
    ] = 1,
) -> None:
    """Run all roles of the pipeline on this machine until SIGTERM or Ctrl-C."""
    context = of(ctx)
    options = mismatch_options(rebuild=rebuild, new_epoch=new_epoch)
    if workers > 1 and context.settings.instance is not None:
        raise UsageError(
            "up: several workers of one role cannot all be PENSTOCK_INSTANCE; unset it, or leave --workers"
        )
    pipeline = context.pipeline()
    stop = threading.Event()
    own = state_dir(context.data_dir, pipeline)
    make_folder(own)
    with stopped_by_signals(stop), occupied(context.data_dir, shared=True), occupied(own):
        with installation(context, pipeline):
            pass  # the log and its topics are there, or one clear line says why not, before anything starts
        address = address_file(context.data_dir)
        address.unlink(missing_ok=True)  # an earlier one's
        said = ""
        with Supervisor(context, [*several(STREAM_GROUPS, workers), SERVING_GROUP], options) as supervisor:
            typer.echo(f"{pipeline.name}: starting (Ctrl-C stops)", err=True)
            while not stop.wait(CHECK_EVERY_S):
                supervisor.check()
                url = address.read_text().strip() if address.exists() else ""
                if url not in ("", said):  # a restart may take another port, if any will do
                    typer.echo(f"{pipeline.name}: {url}", err=True)
                    said = url
