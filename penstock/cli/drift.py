"""``penstock drift``: ``report`` shows two ranges of the log beside each other; ``policy``: thresholds of alarms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import drift_policy, report_file
from penstock.cli.context import of
from penstock.cli.installation import log_of
from penstock.cli.log_range import parse_range, read_range
from penstock.errors import UsageError

app = typer.Typer(help="Look into drift; thresholds of alarms.", no_args_is_help=True)
app.add_typer(drift_policy.app, name="policy")

TOPICS = ("predictions", "requests", "examples")
SUFFIXES = (".html", ".json")


@app.command("report")
def report(
    ctx: typer.Context,
    from_: Annotated[
        str, typer.Option("--from", help="The newer range: what is looked at.", metavar="TOPIC/PARTITION:FROM-TO")
    ],
    against: Annotated[
        str, typer.Option("--against", help="The older range: what it is compared with.", metavar="TOPIC/PARTITION:…")
    ],
    out: Annotated[
        list[Path] | None, typer.Option("--out", help="Write FILE.html or FILE.json; may be repeated.", metavar="FILE")
    ] = None,
) -> None:
    """Compare two ranges of predictions, requests or examples, column by column; alarms are not asked."""
    context = of(ctx)
    pipeline = context.pipeline()
    ranges = [parse_range("--from", from_, TOPICS), parse_range("--against", against, TOPICS)]
    files = out or []
    for file in files:
        if file.suffix not in SUFFIXES:
            raise UsageError(f"--out {file}: name it {' or '.join(SUFFIXES)}")
        report_file.prepare(file)
    # Pandas and Evidently are heavy: a wrong option is told before they load.
    from penstock.cli.drift_report import compare_tables, drifted, render
    from penstock.cli.drift_table import columns_of, table_of

    columns, others = (columns_of(pipeline, each.topic) for each in ranges)
    if columns != others:
        only = sorted({*columns.numeric, *columns.categorical} ^ {*others.numeric, *others.categorical})
        raise UsageError(
            f"drift report: {' and '.join(each.topic for each in ranges)} have different columns "
            f"({', '.join(only)} in one of them only); name the same topic twice"
        )
    with log_of(context, pipeline) as log:
        tables = [table_of(pipeline, each.topic, read_range(log, each)) for each in ranges]
    for each, (frame, _) in zip(ranges, tables, strict=True):
        if frame.empty:
            raise UsageError(f"{each}: no record of it keeps its contract")
    (current, broken), (reference, broken_before) = tables
    made = compare_tables(current, reference, columns)
    found = {
        "from": str(ranges[0]),
        "against": str(ranges[1]),
        "rows": [len(current), len(reference)],
        "broken": [broken, broken_before],
        **drifted(made.json),
    }
    for file in files:
        report_file.write_text(file, render(made, file.suffix))
    text = [
        f"{ranges[0]} ({len(current)} rows) against {ranges[1]} ({len(reference)} rows): "
        f"Evidently finds drift in {found['drifted']} of {len(found['columns'])} columns",
        *(f"{name}: {item['method']} {item['value']:.4g}" for name, item in found["columns"].items()),
        *(f"report: {file}" for file in files),
    ]
    context.show(found, "\n".join(text))
