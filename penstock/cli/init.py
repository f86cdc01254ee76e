"""``penstock init``: a pipeline file from a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.context import of
from penstock.errors import UsageError
from penstock.spec import load_pipeline


def init(
    ctx: typer.Context,
    from_csv: Annotated[Path, typer.Option("--from-csv", help="A CSV file (gzip by suffix).", metavar="FILE")],
    target: Annotated[str, typer.Option("--target", help="The column to predict.", metavar="COL")],
    time: Annotated[str | None, typer.Option("--time", help="The event time's column.", metavar="COL")] = None,
    entity: Annotated[str | None, typer.Option("--entity", help="The entity's column.", metavar="COL")] = None,
    protected: Annotated[
        list[str] | None, typer.Option("--protected", help="A protected attribute.", metavar="COL")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", help="Keep a column that would be ignored.", metavar="COL")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the pipeline file.")] = False,
) -> None:
    """Write pipelines/<name>.py from what a CSV holds; `penstock backtest` runs it unedited."""
    from producers.infer import infer_pipeline, pipeline_name  # brings SciPy, which other commands do not need
    from producers.template import render

    context = of(ctx)
    path = Path("pipelines") / f"{pipeline_name(from_csv)}.py"
    if path.exists() and not force:
        raise UsageError(f"{path}: is there already; --force overwrites it")
    inferred = infer_pipeline(
        from_csv, target, time=time, entity=entity, protected=protected or [], include=include or []
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(inferred), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error
    pipeline = load_pipeline(path)
    text = "\n".join([*inferred.notes, f"wrote {path}: {pipeline.task}, {len(pipeline.features)} features"])
    context.show({"path": str(path), "task": pipeline.task, "notes": inferred.notes}, text)
