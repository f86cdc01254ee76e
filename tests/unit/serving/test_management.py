"""The management API over HTTP, with a real retrainer behind the log."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import LogUnavailableError
from penstock.events import (
    AccessCommand,
    Alert,
    ApprovalCommand,
    CancelCommand,
    Command,
    Decision,
    ExperimentCommand,
    PauseCommand,
    PromoteCommand,
    RetrainCommand,
    RollbackCommand,
    encode,
)
from penstock.log.port import Message
from penstock.runtime.stage import Input
from penstock.settings import Settings
from retraining.service import Retrainer
from serving import desk, journal
from tests.unit.serving.stand import Stand

READER, OPERATOR, ADMIN = ("r" * 20, "o" * 20, "a" * 20)
KEYS = f"rita:reader:{READER}, otto:operator:{OPERATOR}, ada:admin:{ADMIN}"
API = "/api/v1/mlops"


class Answering:
    """A retrainer in a thread: it reads ``commands`` and appends what it decides."""

    def __init__(self, stand: Stand) -> None:
        self._stand, self.retrainer = stand, Retrainer(stand.pipeline)
        self._stop = threading.Event()
        self._tail = stand.log.tail(["commands"], from_start=True)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for record in self._tail.poll(100, 0.01):
                command = msgspec.json.decode(record.value, type=Command)
                outputs = self.retrainer.process([Input("commands", 0, record.offset, 0, command)])
                messages = [Message(each.topic, each.key.encode(), encode(each.event)) for each in outputs]
                if messages:
                    self._stand.log.append(messages)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)


@pytest.fixture
def keyed() -> Stand:
    return Stand(settings=Settings(api_keys=KEYS))


@pytest.fixture
def api(keyed: Stand) -> Iterator[TestClient]:
    with TestClient(keyed.app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def answering(keyed: Stand) -> Iterator[Answering]:
    answering = Answering(keyed)
    yield answering
    answering.close()


def by(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def commands(stand: Stand, begin: int = 0) -> list[Any]:
    return [msgspec.json.decode(record.value, type=Command) for record in stand.records("commands")[begin:]]


def changes(stand: Stand, begin: int = 0) -> list[Any]:
    return [command for command in commands(stand, begin) if not isinstance(command, AccessCommand)]


def calls(stand: Stand, begin: int = 0) -> list[tuple[str, str, str, int]]:
    noted = [command for command in commands(stand, begin) if isinstance(command, AccessCommand)]
    return [(call.by, call.method, call.path, call.status) for call in noted]


def decided(step: Any, seq: int = 0, **about: Any) -> Decision:
    fields: dict[str, Any] = {"run_id": "run-1", "trigger": "drift:d1", "generation": 0, "version": "", **about}
    return Decision(
        seq=seq, step=step, event_time_ms=seq * 1000, record_id=str(seq), reason=f"because {step}", **fields
    )


def seen(api: TestClient, path: str, found: Callable[[Any], bool]) -> Any:
    """What a GET answers once ``found`` holds of it."""
    deadline = time.monotonic() + 10
    while True:
        answered = api.get(f"{API}/{path}", headers=by(OPERATOR)).json()
        if found(answered):
            return answered
        assert time.monotonic() < deadline, answered
        time.sleep(0.01)


def check_problem(answered: Any, status: int) -> str:
    assert answered.status_code == status, answered.text
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.json()["status"] == status
    return str(answered.json()["detail"])


VERSION = "v1"
POSTS = {
    "cicd/run-pipeline": (OPERATOR, {}, RetrainCommand),
    "retraining/trigger": (OPERATOR, {}, RetrainCommand),
    "retraining/start": (OPERATOR, {}, PauseCommand),
    "retraining/stop": (OPERATOR, {}, PauseCommand),
    "retraining/cancel": (OPERATOR, {}, CancelCommand),
    "versioning/create-version": (OPERATOR, {"note": "spring data"}, RetrainCommand),
    "versioning/loans/rollback": (OPERATOR, {}, RollbackCommand),
    "versioning/v1/promote-to-production": (ADMIN, {}, PromoteCommand),
    "versioning/v1/approve": (ADMIN, {}, ApprovalCommand),
    "versioning/v1/reject": (ADMIN, {}, ApprovalCommand),
    "versioning/v1/experiment": (ADMIN, {"share": 0.2}, ExperimentCommand),
}
GETS = (
    "cicd/pipeline-history",
    "cicd/check-retrain/loans",
    "retraining/history",
    "retraining/stats",
    "production-monitoring",
    "production-monitoring/loans",
    "production-monitoring/v1",
    "production-monitoring/alerts",
    "versioning/loans/versions",
)


@dataclass
class Known:
    """Version v1 is known, nobody answers commands, and no call is only counted. One app for many tests."""

    stand: Stand
    api: TestClient
    begin: int = 0

    def changes(self) -> list[Any]:
        return changes(self.stand, self.begin)

    def calls(self) -> list[tuple[str, str, str, int]]:
        return calls(self.stand, self.begin)


@pytest.fixture(scope="module")
def shared() -> Iterator[Known]:
    stand = Stand(settings=Settings(api_keys=KEYS))
    with TestClient(stand.app(), raise_server_exceptions=False) as api:
        stand.append("decisions", decided("triggered"), decided("trained", 1, version=VERSION))
        seen(api, "versioning/loans/versions", lambda page: len(page["versions"]) == 2)
        yield Known(stand, api)


@pytest.fixture
def known(shared: Known, monkeypatch: pytest.MonkeyPatch) -> Known:
    monkeypatch.setattr(desk, "DECIDED_WITHIN_S", 0.0)
    monkeypatch.setattr(journal, "SAME_FOR_S", 0.0)
    return replace(shared, begin=len(shared.stand.records("commands")))


@pytest.mark.parametrize("route", POSTS)
def test_every_change_is_one_command_and_one_audit_entry_in_one_append(
    route: str, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, body, kind = POSTS[route]
    appended: list[list[Any]] = []
    append = known.stand.log.append

    def noted(messages: Any) -> Any:
        appended.append([msgspec.json.decode(message.value, type=Command) for message in messages])
        return append(messages)

    monkeypatch.setattr(known.stand.log, "append", noted)
    answered = known.api.post(f"{API}/{route}", headers=by(key), json={**body, "reason": "why", "id": "mine-1"})
    assert answered.status_code == 202, answered.text
    assert answered.json()["command_id"] == "mine-1"
    assert answered.json()["decision"] is None
    [[command, call]] = appended
    name = "ada" if key == ADMIN else "otto"
    assert isinstance(command, kind)
    assert (command.id, command.by) == ("mine-1", name)
    assert "why" in command.reason
    assert (call.by, call.path, call.status) == (name, f"{API}/{route}", 202)
    assert call.id.startswith("access-mine-1-")


@pytest.mark.parametrize("route", POSTS)
def test_a_change_needs_its_role(route: str, known: Known) -> None:
    wanted, body, _ = POSTS[route]
    for key in (READER,) if wanted == OPERATOR else (READER, OPERATOR):
        assert "needs the role" in check_problem(known.api.post(f"{API}/{route}", headers=by(key), json=body), 403)
    assert known.changes() == []
    assert known.calls()[-1][1:] == ("POST", f"{API}/{route}", 403)
    assert known.api.post(f"{API}/{route}", headers=by(ADMIN), json=body).status_code == 202


@pytest.mark.parametrize("route", [*GETS, *POSTS, "nothing/here"])
def test_without_a_valid_key_every_call_gets_the_same_answer(route: str, known: Known) -> None:
    method = "POST" if route in POSTS else "GET"
    headers: list[dict[str, Any]] = [
        {},
        by("wrong" * 8),
        by(READER[:-1]),
        {"X-API-Key": b"\xe9" * 20},
        {"Authorization": READER},
        {"Authorization": f"Basic {ADMIN}"},
    ]
    answers = [known.api.request(method, f"{API}/{route}", headers=each) for each in headers]
    assert {check_problem(answered, 401) for answered in answers} == {
        "a valid API key is needed, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
    }
    assert len({(answered.content, answered.headers["www-authenticate"]) for answered in answers}) == 1
    assert known.changes() == []


@pytest.mark.parametrize("route", GETS)
def test_a_reader_reads_and_is_noted(route: str, known: Known) -> None:
    assert known.api.get(f"{API}/{route}", headers={"X-API-Key": READER}).status_code == 200
    assert known.calls()[-1] == ("rita", "GET", f"{API}/{route}", 200)


def test_no_key_is_ever_written(known: Known, caplog: pytest.LogCaptureFixture) -> None:
    for route, (_, body, _) in POSTS.items():
        for key in (READER, OPERATOR, ADMIN, "wrong" * 8):
            known.api.post(f"{API}/{route}", headers=by(key), json={**body, "secret": "body text"})
    written = b"".join(record.value for record in known.stand.records("commands"))
    for secret in (READER, OPERATOR, ADMIN, "wrong" * 8, "body text"):
        assert secret.encode() not in written
        assert secret not in caplog.text
        assert secret not in repr(known.stand.deps.settings)


def test_equal_calls_are_counted_and_a_flood_costs_one_entry(keyed: Stand) -> None:
    with TestClient(keyed.app()) as api:
        for number in range(50):
            api.get(f"{API}/versioning/{number}/versions", headers=by("wrong" * 8))
            api.get(f"{API}/retraining/stats", headers=by(READER))
        assert len(commands(keyed)) == 2
    told = [(call.by, call.path, call.status, call.count) for call in commands(keyed)]
    assert told == [
        ("", f"{API}/versioning/{{model_id}}/versions", 401, 1),
        ("rita", f"{API}/retraining/stats", 200, 1),
        ("", f"{API}/versioning/{{model_id}}/versions", 401, 49),
        ("rita", f"{API}/retraining/stats", 200, 49),
    ]


def test_a_run_asked_for_starts_and_a_second_one_does_not(keyed: Stand, api: TestClient, answering: Answering) -> None:
    first = api.post(f"{API}/retraining/trigger", headers=by(OPERATOR), json={"reason": "new data"})
    assert (first.status_code, first.json()["status"]) == (200, "triggered")
    assert first.json()["decision"]["reason"] == "asked for by otto: new data"
    second = api.post(f"{API}/cicd/run-pipeline", headers=by(OPERATOR))
    assert (second.status_code, second.json()["status"]) == (409, "not_started")
    assert first.json()["run_id"] in second.json()["detail"]
    [run] = api.get(f"{API}/cicd/pipeline-history", headers=by(READER)).json()["runs"]
    assert (run["run_id"], run["outcome"], run["step"]) == (first.json()["run_id"], None, "triggered")
    verdict = api.get(f"{API}/cicd/check-retrain/loans", headers=by(READER)).json()
    assert (verdict["would_start"], verdict["person_would_start"]) == (False, False)
    assert verdict["blockers"][0]["name"] == "run"
    stats = api.get(f"{API}/retraining/stats", headers=by(READER)).json()
    assert stats["refused"] == 0
    assert (stats["runs"], stats["by_trigger"], stats["not_started_by_trigger"]) == (1, {"command": 1}, {"command": 1})
    assert stats["running"]["run_id"] == run["run_id"]


def test_a_command_repeated_under_its_id_is_carried_out_once(
    keyed: Stand, api: TestClient, answering: Answering
) -> None:
    body = {"note": "spring", "id": "release-7"}
    first, again = (api.post(f"{API}/versioning/create-version", headers=by(OPERATOR), json=body) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert [command.id for command in changes(keyed)] == ["release-7"]
    assert calls(keyed)[-1] == ("otto", "POST", f"{API}/versioning/create-version", 200)
    assert len(api.get(f"{API}/cicd/pipeline-history", headers=by(READER)).json()["runs"]) == 1


def test_a_rollback_that_cannot_be_is_refused_with_the_reason(
    keyed: Stand, api: TestClient, answering: Answering
) -> None:
    answered = api.post(f"{API}/versioning/loans/rollback", headers=by(OPERATOR), json={"reason": "worse"})
    assert (answered.status_code, answered.json()["status"]) == (409, "refused")
    assert "no other version has served yet" in answered.json()["detail"]


@pytest.mark.parametrize(
    ("route", "status"),
    [
        ("versioning/v9/promote-to-production", 404),
        ("versioning/v9/approve", 404),
        ("versioning/v9/reject", 404),
        ("versioning/run-1/approve", 404),
        ("versioning/other/rollback", 404),
        ("cicd/check-retrain/other", 404),
        ("nothing", 404),
        ("production-monitoring", 405),
    ],
)
def test_what_is_not_there_is_a_clear_problem_and_noted(route: str, status: int, known: Known) -> None:
    detail = check_problem(known.api.post(f"{API}/{route}", headers=by(ADMIN), json={}), status)
    if route.startswith("versioning/v9"):
        assert detail == "no version 'v9'; `versioning` lists those that there are"
    assert known.changes() == []
    assert known.calls()[-1] == ("ada", "POST", f"{API}/{route}", status)


@pytest.mark.parametrize(
    ("route", "body", "status", "field"),
    [
        ("retraining/trigger", b'{"reason": 5}', 422, "reason"),
        ("retraining/trigger", b'{"reason": "%s"}' % (b"x" * 2001), 422, "reason"),
        ("retraining/trigger", b'{"id": "a b"}', 422, "id"),
        ("retraining/trigger", b"[]", 422, "body"),
        ("retraining/trigger", b"{", 400, "body"),
        ("retraining/trigger", b'{"reason": "\\ud800"}', 400, "body"),
        ("versioning/create-version", b"", 422, "note"),
        ("versioning/create-version", b'{"note": ""}', 422, "note"),
        ("versioning/v1/experiment", b'{"share": 1.5}', 422, "share"),
        ("versioning/v1/experiment", b'{"share": NaN}', 422, "share"),
        ("versioning/loans/rollback", b'{"version": ""}', 422, "version"),
    ],
)
def test_a_bad_body_names_its_field(route: str, body: bytes, status: int, field: str, known: Known) -> None:
    answered = known.api.post(f"{API}/{route}", headers=by(ADMIN), content=body)
    check_problem(answered, status)
    assert answered.json()["field"] == field
    assert known.changes() == []


def test_a_large_body_is_refused(known: Known) -> None:
    check_problem(known.api.post(f"{API}/retraining/stop", headers=by(ADMIN), content=b" " * 2_000_000), 413)


def test_histories_come_in_pages(keyed: Stand, api: TestClient) -> None:
    steps = [
        decided(step, 2 * number + place, run_id=f"run-{number}")
        for number in range(5)
        for place, step in enumerate(("triggered", "rejected"))
    ]
    keyed.append("decisions", *steps)
    seen(api, "retraining/stats", lambda stats: stats["by_outcome"] == {"rejected": 5})
    for path, key, wanted in (
        ("cicd/pipeline-history", "runs", [8, 6, 4, 2, 0]),
        ("retraining/history", "decisions", list(range(9, -1, -1))),
        ("versioning/loans/versions", "versions", [9, 7, 5, 3, 1, -1]),
    ):
        found, before = [], ""
        while True:
            page = api.get(f"{API}/{path}?limit=2{before}", headers=by(READER)).json()
            found += [item["seq"] for item in page[key]]
            assert len(page[key]) <= 2
            if page["next_before"] is None:
                break
            before = f"&before={page['next_before']}"
        assert found == wanted, path
    for query in ("limit=0", "limit=501", "limit=x", "before=-1", "before=" + "9" * 40):
        check_problem(api.get(f"{API}/retraining/history?{query}", headers=by(READER)), 422)


def test_alerts_come_in_pages(keyed: Stand, api: TestClient) -> None:
    keyed.append(
        "alerts",
        *(Alert(id=str(n), severity="info", title="t", detail="", at_ms=0, source="x") for n in range(3)),
    )
    page = seen(api, "production-monitoring/alerts?limit=2", lambda page: len(page["alerts"]) == 2)
    assert [item["alert"]["id"] for item in page["alerts"]] == ["2", "1"]
    rest = api.get(f"{API}/production-monitoring/alerts?before={page['next_before']}", headers=by(READER)).json()
    assert ([item["alert"]["id"] for item in rest["alerts"]], rest["next_before"]) == (["0"], None)


def test_when_the_log_is_away_nothing_is_answered_that_could_not_be_audited(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_messages: object) -> list[int]:
        raise LogUnavailableError("disk full at /secret/place")

    monkeypatch.setattr(known.stand.log, "append", away)
    for method, route in (("POST", "retraining/stop"), ("GET", "retraining/stats"), ("GET", "nothing")):
        answered = known.api.request(method, f"{API}/{route}", headers=by(ADMIN))
        assert "secret" not in check_problem(answered, 503)
        assert answered.headers["retry-after"] == "1"
    monkeypatch.undo()
    assert known.api.get(f"{API}/retraining/stats", headers=by(ADMIN)).status_code == 200


def test_nobody_waits_for_ever_for_the_log(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(journal, "APPEND_WITHIN_S", 0.05)
    monkeypatch.setattr(known.stand.log, "append", lambda _messages: released.wait(10))
    try:
        check_problem(known.api.post(f"{API}/retraining/stop", headers=by(ADMIN)), 503)
    finally:
        released.set()


@pytest.mark.parametrize(
    ("headers", "status"), [({"X-Requested-With": "curl"}, 202), ({"Host": "rebound.example"}, 403)]
)
def test_without_configured_keys_this_machine_may_do_everything(
    headers: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "DECIDED_WITHIN_S", 0.0)
    stand = Stand(settings=Settings())
    with TestClient(stand.app(), base_url="http://127.0.0.1:8000", client=("127.0.0.1", 5000)) as api:
        answered = api.post(f"{API}/retraining/stop", headers=headers)
        assert answered.status_code == status, answered.text
        assert [command.by for command in changes(stand)] == ["loopback"] * (status == 202)
        assert api.get(f"{API}/retraining/stats").status_code == 200


def told_routes() -> set[str]:
    """The routes of the table in docs/management-api.md."""
    text = (Path(__file__).parents[3] / "docs" / "management-api.md").read_text(encoding="utf-8")
    found = set()
    for line in re.findall(r"^\| (`(?:GET|POST)`? .*?) \|", text, re.MULTILINE):
        names = re.findall(r"`([^`]+)`", re.sub(r"\(or `POST`\) ", "", line))
        first = names[0].removeprefix("GET").removeprefix("POST").strip() or names[1]
        found.add(first)
        if names[0].startswith("POST"):  # `a/b` · `c` is short for a/c
            found |= {f"{first.rpartition('/')[0]}/{name}" for name in names[1:]}
    return found


def test_openapi_documents_every_route_with_schemas_that_resolve(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    documented = {path: item for path, item in document["paths"].items() if path.startswith(API)}
    templates = {route.replace("loans/r", "{model_id}/r").replace("v1/", "{version_id}/") for route in POSTS}
    assert {f"{API}/{route}" for route in templates} <= set(documented)
    assert documented.keys() == {f"{API}/{route}" for route in told_routes()}
    for operations in documented.values():
        for operation in operations.values():
            assert {"401", "403", "503"} <= set(operation["responses"])
            assert operation["security"] == [{"bearer": []}, {"key": []}]
            schemas = [
                content["schema"]
                for answer in operation["responses"].values()
                for content in answer.get("content", {}).values()
            ]
            assert all("$ref" in schema or "anyOf" in schema for schema in schemas)
    names = set(document["components"]["schemas"])
    referenced = set(re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(document)))
    assert referenced <= names


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("reason", "id", "note", "version", "run_id", "share", "model_id"), JSON)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_is_ever_answered_with_500(data: st.DataObject, known: Known) -> None:
    method = data.draw(st.sampled_from(["GET", "POST", "POST", "PUT", "HEAD"]))
    route = data.draw(st.sampled_from([*POSTS, *GETS]))
    name = quote(data.draw(st.text(max_size=30).filter(lambda text: "\ud800" not in text)), safe="", errors="replace")
    route = data.draw(st.sampled_from([route, route.replace("v1", name).replace("loans", name)]))
    body = data.draw(st.binary(max_size=40) | (JSON | FIELDS).map(lambda value: json.dumps(value).encode()))
    query = data.draw(st.fixed_dictionaries({}, optional={"limit": st.text(max_size=5), "before": st.integers()}))
    key = data.draw(st.sampled_from([ADMIN, ADMIN, OPERATOR, "x" * 20]))
    url = f"{API}/{route}?{urlencode(query, errors='replace')}"
    answered = known.api.request(method, url, headers=by(key), content=body if method in ("POST", "PUT") else None)
    assert answered.status_code in {200, 202, 400, 401, 403, 404, 405, 409, 422}, (url, body, answered.text)
