"""What `penstock run` does beside its loops."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import retraining.effects
import retraining.schedule
from penstock.cli import run as module
from penstock.cli.context import Context
from penstock.clock import SystemClock
from penstock.errors import DependencyError, LogError, LogUnavailableError
from penstock.log import kafka_topics
from penstock.log.port import TopicConfig
from penstock.runtime.loop import LoopOptions
from penstock.runtime.patience import Patience
from penstock.settings import Settings
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="toy", task="regression", target="y", features=(Numeric("x"),), partitions=3)
PATIENCE = Patience(SystemClock(), lambda _: None, 0.0)
WAITING = Patience(SystemClock(), lambda _: None, 60.0)


class Registry:
    def versions(self) -> list[str]:
        return []


def test_only_the_process_that_decides_runs_the_effects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The other one neither sets up MLflow nor follows the decisions, until it takes over."""
    decides, stop = threading.Event(), threading.Event()
    ready, stepped = threading.Event(), threading.Event()

    class Effects:
        def __init__(self, *_: object) -> None:
            assert decides.is_set()

        def step(self) -> bool:
            assert decides.is_set()
            stepped.set()
            return False

    class Scheduler(Effects):
        def step(self) -> bool:
            assert decides.is_set()
            return False

    def registry_of(*_: object) -> Registry:
        assert decides.is_set()
        ready.set()
        return Registry()

    asked = threading.Event()

    def here() -> bool:
        asked.set()
        return decides.is_set()

    monkeypatch.setattr(module, "EFFECTS_EVERY_S", 0.001)
    monkeypatch.setattr(module, "registry_of", registry_of)
    monkeypatch.setattr(retraining.effects, "EffectRunner", Effects)
    monkeypatch.setattr(retraining.schedule, "Scheduler", Scheduler)
    system = SimpleNamespace(pipeline=PIPELINE, log=None, artifacts=None, clock=None)
    context = Context(Settings(data_dir=tmp_path), None, as_json=False)
    thread = threading.Thread(target=module._run_effects, args=(context, system, here, stop, PATIENCE))
    thread.start()
    try:
        assert asked.wait(10)
        assert not ready.is_set()
        decides.set()
        assert stepped.wait(10)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_a_standby_stops_when_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    context = Context(Settings(data_dir=tmp_path), None, as_json=False)
    module._run_effects(context, SimpleNamespace(), lambda: False, stop, PATIENCE)


def test_a_failure_beside_the_loops_is_told_though_its_stop_ends_their_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The loops' wait for a log that is away ends with SystemExit(0) at a stop; that must not hide why it stopped."""

    def fail(*_: object) -> None:
        raise LogUnavailableError("the log is away")

    def wait_for_the_log(_: object, stop: threading.Event) -> None:
        module._pause(stop, 10)

    loop = SimpleNamespace(holds=lambda _: True)
    monkeypatch.setattr(module, "make_loop", lambda *_: loop)
    monkeypatch.setattr(module, "calm_collector", lambda: None)
    monkeypatch.setattr(module, "_run_effects", fail)
    monkeypatch.setattr(module, "run_loops", wait_for_the_log)
    context = Context(Settings(data_dir=tmp_path), None, as_json=False)
    system: Any = SimpleNamespace(pipeline=PIPELINE, clock=SystemClock())
    members = {"retrainer": "retrainer-1", "monitor": "monitor-1"}
    with pytest.raises(LogUnavailableError, match="away"):
        module.run_roles(context, system, list(members), members, LoopOptions(), threading.Event(), WAITING, {})


def test_a_role_that_starts_while_the_log_is_away_waits_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tries: list[str] = []

    def make_loop(role: str, *_: object) -> SimpleNamespace:
        tries.append(role)
        if len(tries) < 3:
            raise LogUnavailableError("the log is away")
        return SimpleNamespace()

    monkeypatch.setattr(module, "make_loop", make_loop)
    monkeypatch.setattr(module, "calm_collector", lambda: None)
    monkeypatch.setattr(module, "run_loops", lambda *_: None)
    context = Context(Settings(data_dir=tmp_path), None, as_json=False)
    system: Any = SimpleNamespace(pipeline=PIPELINE, clock=SystemClock())
    module.run_roles(context, system, ["scorer"], {"scorer": "scorer-1"}, LoopOptions(), threading.Event(), WAITING, {})
    assert tries == ["scorer"] * 3


def test_on_kafka_topics_are_checked_and_never_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from penstock.cli import installation as composed

    asked: list[TopicConfig] = []

    class Log:
        def ensure_topics(self, configs: object) -> None:
            raise AssertionError("a role makes no topics on a cluster")

        def close(self) -> None:
            asked.clear()

    def check_topics(options: object, configs: list[TopicConfig]) -> None:
        asked.extend(configs)
        assert {config.name: config.partitions for config in asked}["requests"] == 3
        raise LogError("requests: no such topic; run `penstock topics create`")

    monkeypatch.setattr(composed, "open_log", lambda *_: Log())
    monkeypatch.setattr(kafka_topics, "check_topics", check_topics)
    context = Context(Settings(data_dir=tmp_path, log="kafka://localhost:9092"), None, as_json=False)
    with (
        pytest.raises(DependencyError, match="penstock topics create") as caught,
        composed.installation(context, PIPELINE),
    ):
        pass
    assert caught.value.exit_code == 3
    assert asked == [], "the log was closed"


@pytest.mark.parametrize(("stopped", "opens"), [(False, 3), (True, 1)])
def test_a_child_waits_for_a_log_that_is_away_until_it_is_told_to_stop(
    stopped: bool, opens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, tries = threading.Event(), []
    if stopped:
        stop.set()

    def opened() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise LogUnavailableError("kafka: away")
        return "open"

    patience = Patience(SystemClock(), partial(module._pause, stop), 60.0)
    if stopped:
        with pytest.raises(SystemExit) as ended:
            patience.call("open", opened)
        assert ended.value.code == 0
    else:
        assert patience.call("open", opened) == "open"
    assert len(tries) == opens
