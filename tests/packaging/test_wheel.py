"""The built wheel: what is in it, and that it works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"penstock", "producers", "consumers", "online", "retraining", "serving", "pipelines"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network by the backend that pyproject names."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def names(wheel: Path) -> set[str]:
    """Paths of the files inside."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_top_level_names_are_exactly_the_packages(wheel: Path) -> None:
    assert {name.partition("/")[0] for name in names(wheel) if ".dist-info/" not in name} == PACKAGES


def test_every_tracked_file_of_the_packages_is_in_it(wheel: Path) -> None:
    """Also what is not Python: py.typed, pages, vendored scripts."""
    listed = subprocess.run(
        ["git", "ls-files", *sorted(PACKAGES)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    there = {name for name in listed if (ROOT / name).is_file()}
    assert {"penstock/py.typed", "penstock/topology.py"} <= there
    assert there - names(wheel) == set()


def test_no_file_of_the_machine_is_in_it(wheel: Path) -> None:
    suspicious = {
        name for name in names(wheel) if "__pycache__" in name or name.endswith((".pyc", ".log", ".db", ".env"))
    }
    assert suspicious == set()


def test_metadata_names_licence_and_command(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = f"penstock-{project['version']}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert f"Version: {project['version']}" in metadata
    assert "penstock = penstock.__main__:main" in entry_points
    assert "Apache License" in licence


def test_it_runs_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = "import penstock, penstock.cli.main, serving; print(penstock.__file__); print(serving.__file__)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert all(Path(line).is_relative_to(site) for line in result.stdout.splitlines())
