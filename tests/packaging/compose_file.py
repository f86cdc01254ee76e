"""docker-compose.yml as data: variables filled in, services in the order in which they may start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file, with ``${NAME:-default}`` replaced from ``variables`` or by its default."""
    given = variables or {}
    text = (ROOT / "docker-compose.yml").read_text()
    filled = _VARIABLE.sub(lambda found: given.get(found[1], found[2] or ""), text)
    parsed = yaml.safe_load(filled)
    assert isinstance(parsed, dict)
    return parsed


def start_order(services: Mapping[str, Any]) -> list[str]:
    """Names of the services, each after those that it waits for."""
    return list(TopologicalSorter({name: sorted(waits(service)) for name, service in services.items()}).static_order())


def waits(service: Mapping[str, Any]) -> dict[str, str]:
    """Which services it waits for, and for what of them."""
    return {name: entry["condition"] for name, entry in service.get("depends_on", {}).items()}
