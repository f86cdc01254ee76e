"""``penstock datasets``: the known public data sets."""

from __future__ import annotations

from typing import Annotated

import typer

import producers.datasets as known
from penstock.cli.context import of, table
from penstock.errors import UsageError

app = typer.Typer(help="The known public data sets.", no_args_is_help=True)


@app.command("list")
def list_datasets(ctx: typer.Context) -> None:
    """Names, sizes, licences, and which are here."""
    context = of(ctx)
    rows = known.describe(context.settings.datasets_dir)
    context.show(rows, table(list(rows), ["name", "rows", "columns", "licence", "here", "source"]))


@app.command("fetch")
def fetch(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Fetch a data set from its official source into PENSTOCK_DATASETS_DIR, and verify its rows."""
    context = of(ctx)
    directory = context.settings.datasets_dir
    if directory is None:
        raise UsageError("datasets fetch: say where to with PENSTOCK_DATASETS_DIR")
    path = known.fetch(name, directory)
    context.show({"name": name, "path": str(path)}, f"{name}: {path}")
