"""How every benchmark is called and what it prints: a table for people on stderr, one JSON object last on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def is_quick(description: str | None) -> bool:
    """Read the command line: whether to end within 60 seconds, with rougher figures."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="end within 60 seconds, with rougher figures")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line (always printed)")
    return bool(parser.parse_args().quick)


def say(text: str) -> None:
    """A line of progress for people."""
    print(text, file=sys.stderr, flush=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table for people."""
    made = Table(*columns, title=title)
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    Console(stderr=True, width=110).print(made)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def finish(figures: dict[str, Any]) -> None:
    """Print the figures as the last line of stdout."""
    print(json.dumps(figures), flush=True)


def rounded(value: float, digits: int = 3) -> float:
    """``value`` with so many significant digits."""
    return float(f"{value:.{digits}g}")
