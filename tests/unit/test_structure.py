"""Rules of the repository's layout that no linter knows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from penstock.topology import STAGES, TOPICS, StageEntry

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

#: Written from outside the topology: by upstream apps, and by the runtime of every stage.
WRITTEN_OUTSIDE = {"requests", "dead-letters", "replays"}
#: Read by people only.
READ_OUTSIDE = {"dead-letters", "replays", "incident-reports"}

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
#: Folders of one machine. (This file is left out of the search.)
MACHINE_PATH = re.compile(r"(?<![\w./$}-])/(?:work|root|home|Users)/\w")
REGISTRY_HOST = re.compile(
    r"\bpypi\.org|pythonhosted\.org|registry\.npmjs\.org|(?:--|_)(?:extra[-_])?index[-_]url\b", re.I
)
#: Text that the lock would hold if the resolver had been asked to write addresses.
ADDRESS = re.compile(r"https?://|--find-links|--trusted-host| @ file:")


def tracked_files() -> list[Path]:
    """Files that git tracks, relative to the root, as far as they are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def tracked_texts() -> list[tuple[Path, str]]:
    """Tracked files that are text, with their text; this file is left out."""
    found = []
    for path in tracked_files():
        data = (ROOT / path).read_bytes()
        if b"\0" not in data and (ROOT / path) != Path(__file__):
            found.append((path, data.decode("utf-8")))
    return found


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_stage_has_its_module(stage: StageEntry) -> None:
    assert (ROOT / (stage.module.replace(".", "/") + ".py")).is_file()


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_writer_and_a_reader(topic: str) -> None:
    writers = {stage.name for stage in STAGES.values() if topic in stage.writes}
    readers = {stage.name for stage in STAGES.values() if topic in (*stage.reads, *stage.tails)}
    assert bool(writers) != (topic in WRITTEN_OUTSIDE)
    assert bool(readers) != (topic in READ_OUTSIDE)


def test_stages_name_only_topics_that_exist() -> None:
    named = {topic for stage in STAGES.values() for topic in (*stage.reads, *stage.tails, *stage.writes)}
    assert named <= set(TOPICS)


def test_stages_that_read_together_are_partitioned_alike() -> None:
    """A group's keyed inputs are co-partitioned: owning a partition of one means owning it of all."""
    for stage in STAGES.values():
        assert len({TOPICS[topic].partitions for topic in stage.reads}) <= 1, stage.name


def test_packages_are_those_of_the_tree() -> None:
    """A new top-level package is either shipped, linted, type-checked and measured, or named here."""
    here = {path.parts[0] for path in tracked_files() if len(path.parts) > 1 and path.suffix == ".py"}
    assert here - {"tests", "benchmarks"} == set(PACKAGES)
    assert set(PROJECT["tool"]["mypy"]["files"]) == set(PACKAGES)
    assert set(PROJECT["tool"]["slipcover"]["source"].split(",")) == set(PACKAGES)
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == set(PACKAGES) - {"pipelines"}


def test_no_module_has_a_vague_name() -> None:
    named = {part for path in tracked_files() if path.suffix == ".py" for part in (path.stem, *path.parts[:-1])}
    assert named
    assert named & VAGUE_NAMES == set()


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("see /home/" + "ada/penstock", True),
        ("cd '/work/" + "main'", True),
        ("GET /v1/homes/1", False),
        ("../work/x and a/home/b", False),
        ("https://files.python" + "hosted.org/x.whl", True),
        ("--index" + "-url https://x", True),
    ],
)
def test_the_search_finds_what_it_should(line: str, refused: bool) -> None:
    assert bool(MACHINE_PATH.search(line) or REGISTRY_HOST.search(line)) == refused


def test_the_lock_is_hashed_and_names_no_address() -> None:
    lock = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    assert ADDRESS.search(lock) is None
    pins = [block for block in re.split(r"\n(?=[a-z0-9])", lock) if "==" in block]
    assert len(pins) > 50
    assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin] == []


def test_the_lock_covers_every_declared_dependency() -> None:
    lock = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([a-z0-9][a-z0-9.-]*)==", lock, re.MULTILINE))
    project = PROJECT["project"]
    declared = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[<>=!~;\[ ]", requirement)[0].lower().replace("_", "-") for requirement in declared}
    assert names - locked == set()


def test_every_direct_dependency_has_its_reason() -> None:
    project = PROJECT["project"]
    declared = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    text = (ROOT / "docs" / "decisions" / "0003-hatchling-and-one-hashed-lock.md").read_text(encoding="utf-8")
    named = {name for row in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in re.findall(r"[\w.-]+", row)}
    assert {re.split(r"[<>=]", requirement)[0] for requirement in declared} - named == set()


def test_the_runtime_does_not_depend_on_test_tools() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras) == {"cluster", "kafka", "lint", "notify", "reports", "retrain", "test"}
    runtime = {re.split(r"[<>=]", name)[0] for name in PROJECT["project"]["dependencies"]}
    for extra, requirements in extras.items():
        assert runtime & {re.split(r"[<>=]", name)[0] for name in requirements} == set(), extra


def test_every_decision_record_is_short_and_numbered_without_gaps() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 60, path.name
        headings = {line for line in text.splitlines() if line.startswith("## ")}
        assert headings == {"## Context", "## Choice", "## What it costs", "## When to revisit"}, path.name


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    pages = [path for path in tracked_files() if path.suffix == ".md"]
    assert pages
    for page in pages:
        text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target and not (ROOT / page.parent / target).exists():
                broken.append(f"{page}: {target}")
    assert broken == []


def test_make_help_names_every_public_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (\w+)$", text, re.MULTILINE))
    described = set(re.findall(r"^(\w+):.*## ", text, re.MULTILINE))
    assert phony == described
    assert {"setup", "demo", "test", "lint"} <= phony
    assert "apt" not in re.sub(r"#.*", "", text)
