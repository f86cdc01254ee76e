"""Commands in the documents are commands of the program."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.exceptions import TyperException

from penstock.cli.main import app, hoist_globals
from penstock.topology import TOPICS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fenced_lines(text: str) -> list[str]:
    """Lines inside fenced blocks, with continued lines joined and trailing comments cut."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [re.sub(r"\s+#.*", "", line).strip() for line in joined.splitlines()]


def commands() -> list[str]:
    """Every fenced `penstock …` line of the documents."""
    lines = [line for page in PAGES for line in fenced_lines(page.read_text(encoding="utf-8"))]
    return sorted({line.removeprefix(".venv/bin/") for line in lines if re.match(r"(\.venv/bin/)?penstock ", line)})


def parse(arguments: list[str]) -> list[str]:
    """Parse as the program does, without running anything; returns the names of the commands that were found."""
    command = typer.main.get_command(app)
    context = command.make_context("penstock", hoist_globals(arguments))
    path: list[str] = []
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
        path.append(name)
    return path


def test_the_documents_show_the_main_commands() -> None:
    shown = {line.split()[1] for line in commands()}
    assert {"demo", "init", "backtest", "up", "replay", "events", "models", "retrain", "datasets"} <= shown


@pytest.mark.parametrize("line", commands())
def test_it_parses(line: str) -> None:
    arguments = shlex.split(line)[1:]
    path = parse(arguments)
    assert path == [argument for argument in arguments if not argument.startswith("-")][: len(path)]


def test_a_wrong_option_would_be_found() -> None:
    with pytest.raises(TyperException, match="no-such-option"):
        parse(["demo", "--no-such-option"])


def test_tailed_topics_exist() -> None:
    topics = {match for line in commands() for match in re.findall(r"events tail (\S+)", line)}
    assert topics
    assert topics <= set(TOPICS)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^\.PHONY: (\w+)$", makefile, re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE))
    assert {"demo", "test", "setup"} <= named
    assert named <= known
