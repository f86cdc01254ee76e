from io import StringIO
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.console import Console

from penstock.cli import demo_view
from penstock.cli.progress import Progress
from penstock.clock import SystemClock
from penstock.events import Decision, Drift, Event, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message
from penstock.spec import load_pipeline
from producers.drifts import TrueDrift

PIPELINE = load_pipeline(Path(__file__).parents[4] / "pipelines" / "credit.py")
REASON = "500 rows in shadow [of 500]; it replaces online " + "and so on " * 20


def decision(step: Any, version: str = "") -> Decision:
    about: dict[str, Any] = {"event_time_ms": 0, "record_id": "r", "trigger": "drift:d1", "generation": 0}
    return Decision(seq=0, run_id="run", step=step, version=version, reason=REASON, **about)


def drift(status: Literal["opened", "closed"]) -> Drift:
    numbers: dict[str, Any] = {"statistic": 1.0, "effect": 0.5, "p_value": 0.0, "drift_score": 0.5, "generation": 0}
    about: dict[str, Any] = {"kind": "covariate", "level": "warning", "detector": "ks", "feature": "age"}
    return Drift(id="d1", status=status, record_id="r", event_time_ms=0, seen=1, **about, **numbers)


def told(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> list[str]:
    """The lines of a view that learns of several things at once."""
    out = StringIO()
    monkeypatch.setattr(
        demo_view, "Console", lambda **_: Console(file=out, force_terminal=terminal, width=80, color_system=None)
    )
    log = MemoryLog(SystemClock())
    log.ensure_topics(topic_configs(1))
    view = demo_view.DemoView(PIPELINE, 100, [TrueDrift(5, "concept")], quiet=False)
    events: list[tuple[str, Event]] = [
        ("drift", drift("opened")),
        ("decisions", decision("triggered")),
        ("decisions", decision("promoted", "v1")),
        ("drift", drift("closed")),
    ]
    log.append([Message(topic, b"k", encode(event)) for topic, event in events])
    progress = Progress(log, PIPELINE)
    view.row(7, progress)
    view.row(8, progress)
    view.finish()
    return [line for line in out.getvalue().splitlines() if line.startswith("row")]


def test_everything_that_happened_is_one_whole_line_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, terminal=False) == [
        "row 5: the stream drifts (concept)",
        "row 7: warning alarm: covariate drift of age (ks)",
        f"row 7: retraining triggered: {REASON}",
        f"row 7: v1 promoted: {REASON}",
    ]


def test_on_a_terminal_a_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told(monkeypatch, terminal=True)
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("…")
