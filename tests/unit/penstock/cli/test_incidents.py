"""``penstock incidents``: the newest report on each incident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli import incidents
from penstock.cli.context import Context
from penstock.clock import VirtualClock
from penstock.errors import UsageError
from penstock.events import IncidentReport, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Log, Message
from penstock.settings import Settings
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))


def report(identity: str, revision: int, status: Any, opened_ms: int) -> IncidentReport:
    return IncidentReport(
        id=identity,
        kind="drift",
        revision=revision,
        status=status,
        level="warning",
        title=f"about {identity}",
        opened_ms=opened_ms,
        event_time_ms=opened_ms,
        markdown=f"# about {identity}\n\nrevision {revision}\n",
    )


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    made = MemoryLog(VirtualClock(0), topic_configs(1))

    @contextmanager
    def opened(*_: object) -> Iterator[Log]:
        yield made

    monkeypatch.setattr(incidents, "log_of", opened)
    monkeypatch.setattr(Context, "pipeline", lambda _: PIPELINE)
    return made


def run(*arguments: str, as_json: bool = False) -> Any:
    app = typer.Typer()
    app.add_typer(incidents.app, name="incidents")

    @app.callback()
    def root(ctx: typer.Context) -> None:
        ctx.obj = Context(Settings(_env_file=None), Path("none.py"), as_json)

    return CliRunner().invoke(app, ["incidents", *arguments])


def test_the_newest_revision_of_each_is_listed_and_shown(log: MemoryLog) -> None:
    for made in (report("d2", 1, "open", 2000), report("d1", 1, "open", 1000), report("d1", 2, "closed", 1000)):
        log.append([Message("incident-reports", made.id.encode(), encode(made))])
    listed = json.loads(run("list", as_json=True).output)
    assert [(row["id"], row["status"], row["opened"]) for row in listed] == [
        ("d1", "closed", "1970-01-01T00:00:01Z"),
        ("d2", "open", "1970-01-01T00:00:02Z"),
    ]
    assert [row["id"] for row in json.loads(run("list", "--open", as_json=True).output)] == ["d2"]
    assert run("show", "d1").output == "# about d1\n\nrevision 2\n"
    assert json.loads(run("show", "d1", as_json=True).output)["revision"] == 2


def test_an_unknown_incident_is_bad_usage_and_names_those_that_there_are(log: MemoryLog) -> None:
    assert run("list").output == "no incident yet\n"
    assert "none yet" in str(run("show", "d9").exception)
    log.append([Message("incident-reports", b"d1", encode(report("d1", 1, "open", 0)))])
    result = run("show", "d9")
    assert isinstance(result.exception, UsageError)
    assert "d1" in str(result.exception)
