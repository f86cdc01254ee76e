"""``penstock models``: what a person says of a version, and the answer that follows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli import asking, models, promotion
from penstock.cli.compose import System, make_loop
from penstock.cli.context import Context
from penstock.cli.installation import installation
from penstock.cli.models import versions_of
from penstock.errors import DependencyError, UsageError
from penstock.events import DataRange, Decision, ModelRecord, encode
from penstock.log.port import Message
from penstock.runtime.loop import LoopOptions
from penstock.runtime.worker import run_loops
from penstock.settings import Settings
from retraining.checking import Checker
from retraining.states import State, chained, fold

PIPELINE = """
from penstock.spec import Numeric, Pipeline

pipeline = Pipeline(name="loans", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),))
"""
STEPS = ("triggered", "collected", "trained", "registered", "shadow", "awaiting_approval")


class Commands:
    """An installation in which v1 waits for approval, with the command line in front of it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "loans.py"
        path.write_text(PIPELINE, encoding="utf-8")
        self.context = Context(Settings(data_dir=folder / "data", _env_file=None), path, as_json=True)
        self._app = typer.Typer()
        self._app.add_typer(models.app, name="models")
        with self.system() as system:
            state = State()
            for step in STEPS:
                draft = Decision(
                    seq=0, run_id="r", step=step, event_time_ms=0, record_id="", trigger="t", reason="", generation=0,
                    version="v1", model=ModelRecord(slot="challenger", version="v1", kind="batch", generation=0),
                    data=DataRange(offsets={"0": (0, 1)}),
                )  # fmt: skip
                decision = chained(state, draft)
                state = fold(state, decision)
                system.log.append([Message("decisions", b"r", encode(decision))])

        @self._app.callback()
        def root(ctx: typer.Context) -> None:
            ctx.obj = self.context

    def system(self) -> Any:
        return installation(self.context, self.context.pipeline())

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(self._app, ["models", *arguments], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return json.loads(result.output)


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture
def deciding(run: Commands) -> Iterator[System]:
    stop = threading.Event()
    with run.system() as system:
        loop = make_loop("retrainer", system, "retrainer-0", LoopOptions())

        def load(*_: object) -> Any:
            raise AssertionError("nothing is loaded whose bytes are not there")

        checker = Checker(system.pipeline, system.log, system.artifacts, load, system.clock)

        def check() -> None:
            while not stop.is_set():
                checker.step(wait_s=0.05)

        threads = [threading.Thread(target=run_loops, args=([loop], stop)), threading.Thread(target=check)]
        for thread in threads:
            thread.start()
        try:
            yield system
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.mark.usefixtures("deciding")
def test_a_version_is_approved_and_what_cannot_be_is_refused_with_1(run: Commands) -> None:
    refused = run("promote", "v9", code=1)
    assert (refused["step"], refused["reason"].rpartition(": ")[2]) == (
        "refused",
        "there is no version v9; there are online, v1",
    )
    missing = run("experiment", "v1", "--share", "0.2", code=1)
    assert "v1 cannot serve: artifact" in missing["reason"]
    approved = run("approve", "v1", "--reason", "looks good")
    assert (approved["step"], approved["version"]) == ("approved", "v1")
    assert approved["reason"].endswith(": looks good")
    assert approved["by"] == promotion.whoami()
    again = run("reject", "v1", code=1)
    assert "v1 serves already" in again["reason"]
    assert run("rollback")["step"] == "rolled_back"


def test_without_a_retrainer_the_command_waits_and_says_so(run: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER_S", 0.1)
    with pytest.raises(DependencyError, match="no retrainer has answered"):
        run("approve", "v1")


@pytest.mark.parametrize("share", ["-0.1", "1", "nan"])
def test_a_share_outside_0_to_1_is_bad_usage(run: Commands, share: str) -> None:
    with pytest.raises(UsageError, match="is not at least 0 and below 1"):
        run("experiment", "v1", "--share", share)


def test_an_experiment_is_a_status_that_passes() -> None:
    def decision(step: str, run_id: str, version: str = "v1", generation: int = 0) -> Decision:
        return Decision(
            seq=0, run_id=run_id, step=step, event_time_ms=0, record_id="", trigger="t", reason="", version=version,
            generation=generation,
        )  # type: ignore[arg-type]  # fmt: skip

    history = [decision("promoted", "r", generation=1), decision("rolled_back", "r", "online", 2)]
    assert _status(history) == "rolled back"
    tried = [*history, decision("recorded", "experiment:e"), decision("canary", "experiment:e")]
    assert _status(tried) == "experiment"
    assert _status([*tried, decision("rejected", "experiment:e")]) == "rolled back"
    assert _status([*tried, decision("promoted", "experiment:e", generation=3)]) == "champion"


def _status(decisions: list[Decision]) -> object:
    (entry,) = [entry for entry in versions_of(decisions) if entry["version"] == "v1"]
    return entry["status"]
