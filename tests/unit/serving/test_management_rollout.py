"""A person's run is approved, rolled back, promoted and tried again: all over HTTP, on the real retrainer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from penstock.events import Event, GateResult, Metrics, ModelRecord, OutcomeCommand, encode
from penstock.log.port import Message
from penstock.runtime.stage import Input
from penstock.settings import Settings
from penstock.spec import RetrainingPolicy, Rollout
from retraining.checking import Checker
from tests.unit.serving.stand import PIPELINE, Stand
from tests.unit.serving.test_management import ADMIN, API, KEYS, OPERATOR, READER, Answering, by, seen

POLICY = RetrainingPolicy(collect_rows=100, trial_rows=100, effect_rows=100)
ROLLOUT = Rollout(approval=True, canary_share=0.2, canary_rows=100)


@pytest.fixture
def stand() -> Stand:
    pipeline = replace(PIPELINE, retraining=POLICY, rollout=ROLLOUT)
    return Stand(pipeline=pipeline, settings=Settings(api_keys=KEYS))


@pytest.fixture
def answering(stand: Stand) -> Iterator[Answering]:
    """The retrainer, and its check of the artifacts that people ask for."""
    answering, stop = Answering(stand), threading.Event()
    checker = Checker(stand.pipeline, stand.log, stand.artifacts, lambda _kind, _data: None, stand.clock)

    def check() -> None:
        while not stop.is_set():
            checker.step(0.02)

    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    yield answering
    stop.set()
    thread.join(5)
    answering.close()


def rows(stand: Stand, answering: Answering, count: int) -> None:
    """The stream comes to ``count`` rows, all labelled."""
    for stage in ("monitor", "learner"):
        event = Metrics(
            stage=stage,
            partition=0,
            seen=count,
            record_id=str(count),
            event_time_ms=count * 1000,
            generation=0,
            offset=count,
        )
        outputs = answering.retrainer.process([Input("metrics", 0, count, 0, event)])
        if outputs:
            stand.log.append([Message(each.topic, each.key.encode(), encode(each.event)) for each in outputs])


def fitted(stand: Stand, run_id: str) -> Event:
    model = ModelRecord(
        slot="challenger", version="v1", kind="batch", generation=0, **stand.artifacts.put(b"0.7")._asdict()
    )
    gates = [GateResult(name="improvement", value=0.2, threshold=0.01, passed=True)]
    return OutcomeCommand(id="fit", run_id=run_id, step="fit", at_ms=0, winner="forest", model=model, gates=gates)


def test_a_version_goes_live_and_back_by_people_alone(stand: Stand, answering: Answering) -> None:
    with TestClient(stand.app(), raise_server_exceptions=False) as api:

        def ask(route: str, key: str, **body: Any) -> tuple[int, str]:
            answered = api.post(f"{API}/{route}", headers=by(key), json=body)
            return answered.status_code, answered.json()["status"]

        def until(status: str) -> None:
            seen(api, "versioning/loans/versions", lambda page: ("v1", status) in pairs(page))

        def pairs(page: Any) -> list[tuple[str, str]]:
            return [(view["version"], view["status"]) for view in page["versions"]]

        rows(stand, answering, 1000)
        created = api.post(f"{API}/versioning/create-version", headers=by(OPERATOR), json={"note": "spring"})
        rows(stand, answering, 1200)
        stand.append("commands", fitted(stand, created.json()["run_id"]))
        until("shadow")
        for count in (1400, 1600):
            rows(stand, answering, count)
        until("awaiting_approval")
        assert ask("versioning/v1/approve", ADMIN, reason="read it") == (200, "approved")
        rows(stand, answering, 1800)
        until("champion")
        assert ask("versioning/v1/approve", ADMIN) == (409, "refused")
        assert ask("versioning/loans/rollback", OPERATOR, reason="worse") == (200, "rolled_back")
        assert ask("versioning/loans/rollback", OPERATOR, version="online") == (409, "refused")
        assert ask("versioning/v1/promote-to-production", ADMIN) == (200, "promoted")
        assert ask("versioning/v1/promote-to-production", ADMIN) == (409, "refused")
        assert ask("versioning/online/experiment", ADMIN, share=0.3) == (200, "canary")
        assert ask("versioning/online/experiment", ADMIN, share=0.0) == (200, "cancelled")
        assert ask("retraining/cancel", OPERATOR) == (409, "refused")
        page = api.get(f"{API}/versioning/loans/versions", headers=by(READER)).json()
    assert pairs(page) == [("v1", "champion"), ("online", "shadow")]
    version = page["versions"][0]
    assert (version["approver"], version["reason"]) == ("ada", "asked for by otto: spring")
    assert [span["part"] for span in version["spans"]] == [
        "made",
        "shadow",
        "canary",
        "waiting",
        "champion",
        "predecessor",
        "champion",
    ]
