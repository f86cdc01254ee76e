"""What every command shares: the global options, resolved once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from penstock.errors import UsageError
from penstock.settings import Settings
from penstock.spec import Pipeline, load_pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Context:
    """Settings with the command line's global options applied. ``pipeline_path`` None: none was named."""

    settings: Settings
    pipeline_path: Path | None
    as_json: bool

    @property
    def data_dir(self) -> Path:
        """Where log, checkpoints, artifacts and registry live."""
        return self.settings.data_dir

    def pipeline_file(self) -> Path:
        """The pipeline file named by ``--pipeline``, or the only one in ``./pipelines``.

        Raises:
            UsageError: none was named and there is not exactly one.
        """
        if self.pipeline_path is not None:
            return self.pipeline_path
        found = sorted(path for path in Path("pipelines").glob("*.py") if path.name != "__init__.py")
        if len(found) == 1:
            return found[0]
        listed = ", ".join(str(path) for path in found[:6]) or "none there"
        raise UsageError(f"which pipeline? name it with --pipeline FILE (in ./pipelines: {listed})")

    def pipeline(self) -> Pipeline:
        """The pipeline itself. Raises ``UsageError`` (and ``SpecError``, which is one)."""
        return load_pipeline(self.pipeline_file())

    def show(self, value: object, text: str) -> None:
        """Print ``value`` as JSON with ``--json``, else ``text``."""
        if self.as_json:
            print_json(value)
        elif text:
            typer.echo(text)


def print_json(value: object) -> None:
    """One JSON object (or array) on one line of standard output."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def table(rows: list[Mapping[str, object]], columns: list[str]) -> str:
    """Rows as aligned text columns, with a heading; an empty string for no rows."""
    if not rows:
        return ""
    cells = [columns, *[["" if row.get(c) is None else str(row.get(c)) for c in columns] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def of(ctx: typer.Context) -> Context:
    """The `Context` that the root command stored."""
    value = ctx.obj
    if not isinstance(value, Context):
        raise TypeError("the root command did not run")
    return value
