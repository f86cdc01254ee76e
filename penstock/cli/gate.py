"""``penstock gate``: a registered version judged again, for people and for CI."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import typer

from penstock.cli.context import of, table
from penstock.cli.installation import installation
from penstock.events import GateResult

VERDICTS = {True: "passed", False: "FAILED", None: "reported"}


def gate(ctx: typer.Context, version: Annotated[str, typer.Argument(metavar="VERSION")]) -> None:
    """Judge a version again by the pipeline's gates, on the rows that its run recorded; exit 1 if one fails.

    Nothing is fitted and nothing is written. Exit 2: no such version. Exit 3: the log no longer holds its rows.
    """
    from penstock.cli.compose import decisions_of
    from penstock.cli.judged_again import judged_again

    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        gates = judged_again(system, decisions_of(system), version, time.perf_counter)
    passed = all(result.passed is not False for result in gates)
    context.show(
        {"version": version, "passed": passed, "gates": [msgspec.to_builtins(result) for result in gates]},
        f"{_table(gates)}\n{version}: {'every gate passed' if passed else 'REFUSED'}",
    )
    if not passed:
        raise typer.Exit(1)


def _table(gates: list[GateResult]) -> str:
    rows = [
        {
            "gate": result.name,
            "threshold": _figure(result.threshold),
            "value": _figure(result.value),
            "verdict": VERDICTS[result.passed],
            "detail": result.detail,
        }
        for result in gates
    ]
    return table(list(rows), ["gate", "threshold", "value", "verdict", "detail"])


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"
