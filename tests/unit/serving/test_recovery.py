"""From the evidence that a champion is sick to an answer by the last good version, on the embedded log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from fastapi.testclient import TestClient

from penstock.cli.compose import System, make_loop
from penstock.events import DataRange, Decision, Features, ModelRecord, RollbackCommand, Score, encode
from penstock.log.port import Message
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.runtime.loop import LoopOptions
from penstock.runtime.worker import run_loops
from retraining.checking import Checker
from retraining.states import State, chained, fold
from tests.unit.serving.stand import FEATURES, Constant, Stand, score_of

DEADLINE_S = 5.0


class Fragile(Constant):
    """Cannot score a salary of 13."""

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        if any(row["salary"] == 13 for row in rows):
            raise ZeroDivisionError("13")
        return super().score_many(rows)


def promotions(*records: ModelRecord) -> Iterator[Decision]:
    """The chain of decisions by which ``records`` came to serve, one after the other."""
    state = State()
    for number, record in enumerate(records):
        for step in ("triggered", "collected", "trained", "registered", "shadow", "promoted"):
            draft = Decision(
                seq=0, run_id=f"r{number}", step=step, event_time_ms=0, record_id="", trigger=f"t{number}", reason="",
                generation=record.generation, version=record.version, model=record,
                data=DataRange(offsets={"0": (0, 1)}),
            )  # fmt: skip
            decision = chained(state, draft)
            state = fold(state, decision)
            yield decision


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """v1 served before, v2 serves now; a retrainer decides."""
    stand = Stand(directory=tmp_path)
    stand.served._load = lambda _, data: (Fragile if float(data) == score_of("v2") else Constant)(float(data))
    first = stand.champion("v1", 1)
    second = stand.champion("v2", 2, predecessor=first)
    stand.append("decisions", *promotions(first, second))
    yield stand
    stand.log.close()


@contextmanager
def deciding(stand: Stand) -> Iterator[None]:
    """A retrainer and its checker, each in a thread as in production."""
    system = System(
        stand.pipeline, stand.log, stand.artifacts, MemoryCheckpoints(), lambda: EverySnapshot(stand.artifacts),
        stand.clock, stand.telemetry,
    )  # fmt: skip
    stop = threading.Event()
    loop = make_loop("retrainer", system, "retrainer-0", LoopOptions())
    checker = Checker(stand.pipeline, stand.log, stand.artifacts, stand.served._load, stand.clock)

    def check() -> None:
        while not stop.is_set():
            if not checker.step():
                stop.wait(0.2)

    threads = [threading.Thread(target=run_loops, args=([loop], stop)), threading.Thread(target=check)]
    for thread in threads:
        thread.start()
    try:
        deadline_s = time.monotonic() + 30
        while not loop.holds(0):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        checker.close()


def until(ask: Callable[[], tuple[str, int]], wanted: tuple[str, int], deadline_s: float) -> float:
    """How many seconds it takes until ``ask`` gives ``wanted``."""
    began_s = time.monotonic()
    while ask() != wanted:
        assert time.monotonic() - began_s < deadline_s, f"{wanted} does not answer"
    return time.monotonic() - began_s


def test_a_sick_champion_is_replaced_within_five_seconds_of_the_evidence(stand: Stand) -> None:
    with deciding(stand), TestClient(stand.app()) as client:

        def ask(salary: int = 13) -> tuple[str, int]:
            answered = client.post("/v1/predict", json={"features": {**FEATURES, "salary": salary}})
            assert answered.status_code == 200
            return answered.json()["version"], answered.json()["generation"]

        assert ask(1000) == ("v2", 2)
        assert [ask() for _ in range(3)] == [("v1", 2)] * 3, "the last good version stands in meanwhile"
        took_s = until(ask, ("v1", 3), DEADLINE_S)
    print(f"evidence to served again: {took_s:.2f} s")
    (back,) = [decision for decision in _decisions(stand) if decision.step == "rolled_back"]
    assert (back.version, back.by, back.trigger) == ("v1", "serving", "command:health-v2-2-failures")
    assert back.reason.endswith("scoring failed in 4 calls in a row (limit 3): ZeroDivisionError: 13")


def test_a_person_s_rollback_serves_within_five_seconds(stand: Stand) -> None:
    with deciding(stand), TestClient(stand.app()) as client:
        command = RollbackCommand(id="r", by="ann", at_ms=0)
        stand.log.append([Message("commands", b"r", encode(command))])

        def ask() -> tuple[str, int]:
            answered = client.post("/v1/predict", json={"features": FEATURES}).json()
            return answered["version"], answered["generation"]

        took_s = until(ask, ("v1", 3), DEADLINE_S)
    print(f"command to served again: {took_s:.2f} s")
    assert [decision.step for decision in _decisions(stand)][-2:] == ["recorded", "rolled_back"]


def _decisions(stand: Stand) -> list[Decision]:
    return [msgspec.json.decode(record.value, type=Decision) for record in stand.records("decisions")]
