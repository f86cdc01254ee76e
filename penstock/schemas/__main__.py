"""``python -m penstock.schemas [--check] [--allow-breaking]``: write or check the generated files under ``docs/``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.schemas.asyncapi import asyncapi_document
from penstock.schemas.compatibility import breaking_changes
from penstock.schemas.contracts import contract_schema, contract_topics
from penstock.schemas.pages import metrics_page, settings_page, topology_page

_CONTRACTS = Path("schemas")


def generated_files() -> dict[Path, str]:
    """Every generated file: path below ``docs/`` → text. The same code gives the same text everywhere."""
    files = {_CONTRACTS / f"{topic}.json": _json(contract_schema(topic)) for topic in contract_topics()}
    files[Path("asyncapi.json")] = _json(asyncapi_document())
    files[Path("settings.md")] = settings_page()
    files[Path("metrics.md")] = metrics_page()
    files[Path("topology.md")] = topology_page()
    return files


def stale_files(docs: Path) -> list[Path]:
    """Paths below ``docs`` that are missing, differ, or are contracts of topics that are no more."""
    wanted = generated_files()
    stale = [path for path, text in wanted.items() if _text(docs / path) != text]
    stale += [
        _CONTRACTS / path.name for path in (docs / _CONTRACTS).glob("*.json") if _CONTRACTS / path.name not in wanted
    ]
    return sorted(stale)


def broken_contracts(docs: Path) -> list[str]:
    """What the code breaks of the contracts that are committed: lines of ``topic: place: what``."""
    found = []
    for path in sorted((docs / _CONTRACTS).glob("*.json")):
        if path.stem not in contract_topics():
            found.append(f"{path.stem}: the whole contract is gone")
            continue
        changes = breaking_changes(json.loads(path.read_text(encoding="utf-8")), contract_schema(path.stem))
        found += [f"{path.stem}: {change}" for change in changes]
    return found


def write_files(docs: Path) -> list[Path]:
    """Bring the generated files up to date; returns those that changed."""
    wanted = generated_files()
    stale = stale_files(docs)
    for path in stale:
        target = docs / path
        if path not in wanted:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(wanted[path], encoding="utf-8")
    return stale


def run(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m penstock.schemas", description="Write the generated files.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    parser.add_argument("--allow-breaking", action="store_true", help="write contracts that break their readers")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of the generated files")
    options = parser.parse_args(arguments)
    broken = broken_contracts(options.docs)
    if broken and not options.allow_breaking:
        sys.stderr.writelines(f"breaks its readers: {line}\n" for line in broken)
        sys.stderr.write("A contract may only gain optional fields; --allow-breaking writes it all the same.\n")
        return 1
    if options.check:
        stale = stale_files(options.docs)
        sys.stderr.writelines(f"stale: {options.docs / path}\n" for path in stale)
        return 1 if stale else 0
    for path in write_files(options.docs):
        sys.stdout.write(f"{options.docs / path}\n")
    return 0


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
