"""``penstock retraining`` on an installation whose retrainer answers in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli import asking, retrain, retraining
from penstock.cli.compose import make_loop
from penstock.cli.context import Context
from penstock.cli.installation import installation
from penstock.errors import DependencyError
from penstock.events import Metrics, RetrainCommand, encode
from penstock.log.port import Message
from penstock.runtime.loop import LoopOptions
from penstock.settings import Settings

PIPELINE = """
from penstock.spec import Numeric, Pipeline, RetrainingPolicy

pipeline = Pipeline(
    name="loans", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),),
    retraining=RetrainingPolicy(daily_runs=2),
)
"""


class Command:
    """Runs the command; JSON out, or text."""

    def __init__(self, folder: Path) -> None:
        path = folder / "loans.py"
        path.write_text(PIPELINE, encoding="utf-8")
        self.settings, self.path = Settings(data_dir=folder / "data", _env_file=None), path
        self.context = Context(self.settings, path, as_json=True)
        self._app = typer.Typer()
        self._app.add_typer(retraining.app, name="retraining")
        self._app.command("retrain")(retrain.retrain)

        @self._app.callback()
        def root(ctx: typer.Context) -> None:
            ctx.obj = self.context

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        words = arguments if arguments[0] == "retrain" else ("retraining", *arguments)
        result = CliRunner().invoke(self._app, words, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return json.loads(result.output) if self.context.as_json else result.output

    def text(self, *arguments: str) -> str:
        self.context = Context(self.settings, self.path, as_json=False)
        try:
            return str(self(*arguments))
        finally:
            self.context = Context(self.settings, self.path, as_json=True)


@pytest.fixture
def run(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def answered(run: Command) -> Iterator[Command]:
    """A retrainer works through what is in the log, in a thread; 500 rows are labelled."""
    stop = threading.Event()
    metrics = Metrics(stage="learner", partition=0, seen=500, record_id="r", event_time_ms=0, generation=0, offset=499)
    with installation(run.context, run.context.pipeline()) as system:
        system.log.append([Message("metrics", b"0", encode(metrics))])
        loop = make_loop("retrainer", system, "retrainer-0", LoopOptions())

        def work() -> None:
            while not stop.is_set():
                loop.step(0.02)

        thread = threading.Thread(target=work)
        thread.start()
        yield run
        stop.set()
        thread.join()
        loop.close()


def test_nothing_has_happened_yet(run: Command) -> None:
    found = run("status")
    assert (found["enabled"], found["paused"], found["run"], found["runs_left"]) == (True, None, None, 2)
    assert found["not_started"] == []
    assert [due["schedule"] for due in found["upcoming"]] == ["0 2 * * 0", "at_latest"]
    assert "budget: 2 of 2 runs left" in run.text("status")


def test_pause_cancel_and_resume(answered: Command) -> None:
    paused = answered("pause", "--reason", "migration")
    assert paused["step"] == "paused"
    assert paused["by"]
    assert answered("pause", code=1)["step"] == "refused"
    assert "no run is going on" in answered("cancel", code=1)["reason"]
    with installation(answered.context, answered.context.pipeline()) as system:
        command = RetrainCommand(id="c", by="ann", at_ms=0)
        system.log.append([Message("commands", b"c", encode(command))])
    assert "not going on" in answered("cancel", "other", code=1)["reason"]
    found = answered("status")
    assert found["paused"]["by"] == paused["by"]
    assert found["obstacle"].startswith("retraining is paused by")
    assert found["run"]["trigger"] == "command:c"
    assert found["runs_left"] == 1
    text = answered.text("status")
    assert "retraining: paused since 1970" in text
    assert "(collecting), 1 labelled rows, triggered by command:c" in text
    assert answered("cancel", found["run"]["run_id"])["step"] == "cancelled"
    assert answered("resume")["step"] == "resumed"
    found = answered("status")
    assert (found["paused"], found["run"], found["cooldown_until"]) == (None, None, 1000)
    assert "cooldown: until labelled row 1000 (now 500)" in answered.text("status")


def test_without_a_retrainer_the_command_waits(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER_S", 0.2)
    with pytest.raises(DependencyError, match="waits in the log"):
        run("pause")


def test_a_person_who_asks_for_a_run_hears_what_became_of_it(answered: Command) -> None:
    started = answered("retrain", "--reason", "new product")
    assert (started["step"], started["reason"].partition(": ")[2]) == ("triggered", "new product")
    declined = answered("retrain", code=1)
    assert declined["step"] == "not_started"
    assert "is going on (collecting)" in declined["reason"]
