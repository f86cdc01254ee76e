"""What a benchmark ran on: stated in its report, since figures of one machine say little about another."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("river", "numpy", "msgspec", "confluent-kafka", "kafka-python")
ROOT = Path(__file__).resolve().parents[1]


def environment(broker: str | None = None, libraries: Sequence[str] = LIBRARIES) -> dict[str, Any]:
    """Cores, Python, library versions, the broker's version, and the revision of this repository."""
    stated: dict[str, Any] = {
        "cpu_count": os.cpu_count(),
        "cpu": _cpu_model(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in libraries},
        "revision": _revision(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }
    return stated | ({} if broker is None else {"broker": broker})


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _revision() -> str:
    """The commit, with a + where files differ from it; empty outside of a repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    asked = [[git, "rev-parse", "--short", "HEAD"], [git, "status", "--porcelain", "--untracked-files=no"]]
    answers = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False) for command in asked]
    return answers[0].stdout.strip() + ("+" if answers[1].stdout.strip() else "")
