"""`penstock gate` and `penstock models card` on an installation whose retrainer has promoted a version."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.compose import System
from penstock.cli.judged_again import judged_again
from penstock.cli.main import main
from penstock.log.memory import MemoryLog
from penstock.log.port import Message
from penstock.models.artifact import DirectoryArtifacts, Signer
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.telemetry import Telemetry
from retraining.registration import card_reference

KEY = "0123456789abcdef"
PIPELINE_FILE = """
from penstock.spec import Categorical, Gates, Numeric, Pipeline

PIPELINE = Pipeline(
    name="loans",
    task="binary",
    target="approved",
    features=(
        *(Numeric(name) for name in ("salary", "commission", "age", "hvalue", "hyears", "loan")),
        *(Categorical(name) for name in ("elevel", "car", "zipcode")),
    ),
    classes=("0", "1"),
    gates=Gates(GATES),
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("installation")


@pytest.fixture(scope="module")
def world(new_world: Callable[..., Any], folder: Path) -> Any:
    """A promoted version, its log and artifacts on disk as `penstock` finds them."""
    from penstock.clock import SystemClock
    from penstock.log.open import open_log, topic_configs

    world = new_world()
    world.artifacts = DirectoryArtifacts(folder / "loans" / "artifacts", Signer(KEY.encode()))
    world.serving._artifacts = world.artifacts
    world.runner = world.new_runner()
    world.advance(2200)
    world.drift(since_row=2000)
    world.advance(4600)
    assert world.steps()[-1] == "promoted"
    log = open_log("embedded", folder, "loans", SystemClock(), None)
    log.ensure_topics(topic_configs(1))
    for topic in ("examples", "decisions", "models"):
        log.append([Message(topic, b"k", value) for value in world._values(topic)])
    log.close()
    return world


@pytest.fixture
def penstock(
    world: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command; its exit code and what it printed."""
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", KEY)

    def run(*arguments: str, gates: str = "") -> tuple[int, str]:
        path = folder / "loans.py"
        path.write_text(PIPELINE_FILE.replace("GATES", gates))
        with pytest.raises(SystemExit) as ended:
            main(["--pipeline", str(path), "--data-dir", str(folder), *arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run


def test_a_version_that_passed_passes_again(penstock: Callable[..., tuple[int, str]], world: Any) -> None:
    code, said = penstock("gate", "v1", "--json")
    assert code == 0, said
    found = json.loads(said)
    assert found["passed"] is True
    again = {gate["name"]: gate.get("value") for gate in found["gates"]}
    trained = world.decisions()[2]
    for gate in trained.gates:
        if gate.name != "p99_ms":
            assert again[gate.name] == gate.value, gate.name
    assert again["p99_ms"] > 0.0  # measured now, in real time
    assert again["data_digest"] == 1.0


def test_gates_that_were_raised_since_refuse_it(penstock: Callable[..., tuple[int, str]]) -> None:
    code, said = penstock("gate", "v1", gates="min_accuracy=0.99, max_artifact_bytes=100")
    assert code == 1
    lines = {line.split()[0]: line for line in said.splitlines()}
    assert " FAILED " in lines["min_accuracy"]
    assert "above 0.99 wanted" in lines["min_accuracy"]
    assert " FAILED " in lines["artifact_bytes"]
    assert " passed " in lines["improvement_over_online"]
    assert said.splitlines()[-1] == "v1: REFUSED"


@pytest.mark.parametrize("version", ["v9", "online", ""])
def test_an_unknown_version_is_bad_usage(penstock: Callable[..., tuple[int, str]], version: str) -> None:
    for command in (("gate",), ("models", "card")):
        code, said = penstock(*command, version)
        assert code == 2
        assert "version" in said


def test_the_card_says_what_the_decision_says(penstock: Callable[..., tuple[int, str]], world: Any) -> None:
    code, said = penstock("models", "card", "v1")
    assert code == 0
    trained, registered = world.decisions()[2], world.registry.show("v1")
    assert trained.lineage == registered.lineage
    assert registered.semantic_version == "1.0.0"
    for part in (
        "# Model card: loans v1 (1.0.0)", "## What it is for", "## Data", "## Metrics", "## Gates", "## Fairness",
        "## Explanation", "## Lineage", "## Limits", f"`{trained.lineage['data_digest']}`", "| roc_auc |",
    ):  # fmt: skip
        assert part in said
    for gate in trained.gates:
        assert f"| {gate.name} |" in said


def test_a_tampered_artifact_is_refused_and_never_loaded(
    penstock: Callable[..., tuple[int, str]], world: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("online.batch.load_batch", lambda *_: pytest.fail("tampered bytes were loaded"))
    path = folder / "loans" / "artifacts" / world.decisions()[3].model.uri
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        code, said = penstock("gate", "v1")
    finally:
        path.write_bytes(kept)
    assert code == 1
    assert "artifact_intact" in said
    assert "SHA-256 differs" in said


def test_a_tampered_card_is_not_shown(penstock: Callable[..., tuple[int, str]], world: Any, folder: Path) -> None:
    reference = card_reference(world.decisions()[2].lineage["model_card"])
    path = folder / "loans" / "artifacts" / reference.uri
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"passed", b"PASSED"))
    try:
        code, said = penstock("models", "card", "v1")
    finally:
        path.write_bytes(kept)
    assert code != 0
    assert "SHA-256 differs" in said


def test_rows_that_changed_since_are_a_failed_gate(world: Any) -> None:
    changed = MemoryLog(world.clock)
    changed.ensure_topics(list(world.log._configs.values()))
    for value in world._values("examples"):
        changed.append([Message("examples", b"k", value.replace(b'"salary":', b'"salary":1'))])
    system = System(
        world.pipeline, changed, world.artifacts, MemoryCheckpoints(), lambda: EverySnapshot(world.artifacts),
        world.clock, Telemetry(),
    )  # fmt: skip
    gates = {gate.name: gate.passed for gate in judged_again(system, world.decisions(), "v1", time.perf_counter)}
    assert gates["data_digest"] is False
