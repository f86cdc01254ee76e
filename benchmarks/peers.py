"""What the product is compared with lives in a virtual environment of its own, made here and never by the product."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.output import say

QUIX, QUIX_VERSION = "quixstreams", "3.28.1"
#: The product's libraries (river and so on) come after the peer's own, which it was resolved with.
LINK = "penstock-libraries.pth"


def peers_python() -> Path:
    """The interpreter of the peers' environment (PENSTOCK_BENCH_VENV, or in the cache folder), made on first use.

    It sees the product's libraries too, so that it can run the very same learner.
    """
    folder = Path(os.environ.get("PENSTOCK_BENCH_VENV") or Path.home() / ".cache" / "penstock" / "bench-venv")
    python = _made(folder, QUIX, QUIX_VERSION)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (Path(site) / LINK).write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _has(python: Path, library: str, version: str) -> bool:
    code = f"from importlib.metadata import version; print(version({library!r}))"
    asked = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and asked.stdout.strip() == version


def environment_with(library: str, version: str) -> Path:
    """The interpreter of an environment that holds ``library`` and what it needs alone, made on first use."""
    return _made(Path.home() / ".cache" / "penstock" / f"{library}-venv", library, version)


def _made(folder: Path, library: str, version: str) -> Path:
    """The interpreter of the environment ``folder`` with ``library`` in it."""
    python = folder / "bin" / "python"
    if not python.exists():
        say(f"making {folder} ...")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if not _has(python, library, version):
        say(f"installing {library} {version} into {folder} ...")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"{library}=={version}"], check=True, stdout=sys.stderr
        )
    return python


def peer_versions(python: Path) -> dict[str, str]:
    """The versions that the peers really run with."""
    names = ("quixstreams", "confluent-kafka", "kafka-python", "river", "msgspec")
    code = f"from importlib.metadata import version; print(*map(version, {names!r}))"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(names, found, strict=True))
