"""``penstock drift policy``: thresholds on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli import drift_policy
from penstock.cli.context import Context
from penstock.errors import UsageError
from penstock.events import DriftThresholds
from penstock.settings import Settings

PIPELINE = """
from penstock.spec import DriftPolicy, Numeric, Pipeline

pipeline = Pipeline(
    name="loans", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),),
    drift=DriftPolicy(effect_floor=0.15),
)
"""


class Command:
    """Runs the command on an empty installation; JSON out."""

    def __init__(self, folder: Path) -> None:
        path = folder / "loans.py"
        path.write_text(PIPELINE, encoding="utf-8")
        context = Context(Settings(data_dir=folder / "data", _env_file=None), path, as_json=True)
        self._app = typer.Typer()
        self._app.add_typer(drift_policy.app, name="policy")

        @self._app.callback()
        def root(ctx: typer.Context) -> None:
            ctx.obj = context

    def __call__(self, *arguments: str) -> Any:
        result = CliRunner().invoke(self._app, ["policy", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.output)


def test_what_is_set_is_shown_until_it_is_reset(tmp_path: Path) -> None:
    run = Command(tmp_path)
    run("set", "effect_floor=0.3", "quiet_looks=5", "--reason", "noisy sensor")
    run("set", "psi_warning=0.2")
    now = {row["threshold"]: (row["declared"], row["now"]) for row in run("show")}
    assert (now["effect_floor"], now["quiet_looks"], now["psi_warning"]) == ((0.15, 0.3), (10, 5), (0.1, 0.2))
    run("reset")
    assert all(row["declared"] == row["now"] for row in run("show"))


def test_values_are_numbers_in_their_range() -> None:
    assert drift_policy.parsed(["effect_floor=0.3", "quiet_looks=5"]) == DriftThresholds(
        effect_floor=0.3, quiet_looks=5
    )


@pytest.mark.parametrize("bad", ["effect_floor", "window=5", "effect_floor=x", "effect_floor=2", "quiet_looks=0.5"])
def test_anything_else_is_refused_by_name(bad: str) -> None:
    with pytest.raises(UsageError, match=bad.partition("=")[0]):
        drift_policy.parsed([bad])
