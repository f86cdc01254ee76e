"""What a person sees on the terminal while a demo runs: one progress line, and a line per thing that happened."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from penstock.cli import progress as stream
from penstock.events import Decision, Drift
from penstock.spec import Pipeline
from producers.drifts import TrueDrift


class DemoView:
    """A progress line on a terminal; plain lines of what happened elsewhere; nothing when quiet."""

    def __init__(self, pipeline: Pipeline, events: int, true_drifts: Sequence[TrueDrift], *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._drifts = list(true_drifts)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self._console, disable=quiet or not sys.stderr.isatty())
        self._task: TaskID = self._progress.add_task(pipeline.name, total=events)
        self._progress.start()

    def announce(self, url: str) -> None:
        """Say where the dashboard is."""
        self._console.print(f"Dashboard: [bold]{url}[/bold]")

    def row(self, row: int, progress: stream.Progress) -> None:
        """Row ``row`` was sent; tell what is new since."""
        self._progress.update(self._task, completed=row + 1)
        while self._drifts and self._drifts[0].row <= row:
            drift = self._drifts.pop(0)
            self._tell(f"row {drift.row}: the stream drifts ({drift.kind})")
        for event in progress.news():
            if line := _told(event):
                self._tell(f"row {row}: {line}")

    def _tell(self, line: str) -> None:
        """One event, one line: on a terminal it ends where the line does; in a file it is kept whole."""
        if self._console.is_terminal:
            self._console.print(line, markup=False, no_wrap=True, overflow="ellipsis")
        else:
            self._console.print(line, markup=False, soft_wrap=True)

    def finish(self) -> None:
        """Close the progress line."""
        self._progress.stop()


def _told(event: Decision | Drift) -> str:
    if isinstance(event, Decision):
        return f"{event.version or 'retraining'} {event.step.replace('_', ' ')}: {event.reason}"
    if event.status == "closed":
        return ""
    return (
        f"{event.level} alarm: {event.kind} drift{f' of {event.feature}' if event.feature else ''} ({event.detector})"
    )
