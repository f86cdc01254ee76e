import json
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import LogUnavailableError
from penstock.events import Alert, Command, Label, ModelRecord, Prediction
from penstock.models.slot import Loaded
from penstock.settings import Settings
from penstock.spec import Categorical, Numeric, Pipeline
from serving import predict
from tests.unit.serving.stand import FEATURES, PIPELINE, Constant, Stand, score_of


def test_a_prediction_is_in_the_log_before_it_is_answered(stand: Stand, client: TestClient) -> None:
    answered = client.post("/v1/predict", json={"id": "a", "event_time_ms": 7, "features": FEATURES})
    assert answered.status_code == 200
    [record] = stand.records("predictions")
    assert record.value == answered.content
    assert record.key == b"a"
    prediction = msgspec.json.decode(record.value, type=Prediction)
    assert (prediction.id, prediction.event_time_ms, prediction.version) == ("a", 7, "online")
    assert prediction.features == {"salary": 1000.0, "car": "a", "owner": True}


def test_without_an_id_a_request_gets_a_new_one(client: TestClient) -> None:
    first, second = (client.post("/v1/predict", json={"features": FEATURES}).json()["id"] for _ in range(2))
    assert first != second
    assert client.post("/v1/predict", json={"id": None, "features": FEATURES}).status_code == 200


def test_unknown_fields_are_ignored_and_null_is_a_missing_value(client: TestClient) -> None:
    features = {**FEATURES, "salary": None, "shoe_size": [1, 2], "colour": {"x": 1}}
    answered = client.post("/v1/predict", json={"id": "a", "colour": {"x": 1}, "features": features})
    assert answered.status_code == 200
    assert answered.json()["features"] == {**FEATURES, "salary": None}
    refused = client.post("/v1/predict", json={"features": {**features, "car": [1]}})
    assert refused.json()["field"] == "features.car"


def test_messages_are_keyed_by_entity(stand: Stand, client: TestClient) -> None:
    client.post("/v1/predict", json={"id": "a", "entity": "bob", "features": FEATURES})
    client.post("/v1/labels", json={"id": "a", "entity": "bob", "value": "yes"})
    assert [record.key for record in stand.records("predictions") + stand.records("labels")] == [b"bob", b"bob"]


def features(**changes: str) -> bytes:
    parts = {"salary": "1", "car": '"a"', "owner": "true"} | changes
    return b'{"features":{%s}}' % ",".join(f'"{n}":{v}' for n, v in parts.items() if v).encode()


BAD = {
    "text for a number": (features(salary='"many"'), "features.salary"),
    "a boolean for a number": (features(salary="true"), "features.salary"),
    "an array": (features(salary="[1]"), "features.salary"),
    "an object": (features(car='{"a":1}'), "features.car"),
    "a number for a category": (features(car="1"), "features.car"),
    "a number for a boolean": (features(owner="1"), "features.owner"),
    "NaN": (features(salary="NaN"), "features.salary"),
    "an infinity": (features(salary="-Infinity"), "features.salary"),
    "an overflowing number": (features(salary="1e999"), "features.salary"),
    "a huge integer": (features(salary="9" * 400), "features.salary"),
    "an integer of 5000 digits": (features(salary="9" * 5000), "features.salary"),
    "an absent feature": (features(salary=""), "features.salary"),
    "no features": (b'{"id":"a"}', "features"),
    "features of a wrong type": (b'{"features":5}', "features"),
    "a number as id": (b'{"id":5,"features":{}}', "id"),
    "an empty id": (b'{"id":"","features":{}}', "id"),
    "a too long id": (b'{"id":"%s","features":{}}' % (b"x" * 257), "id"),
    "a fractional time": (b'{"event_time_ms":1.5,"features":{}}', "event_time_ms"),
    "an array of requests": (b"[]", "body"),
    "a number": (b"5", "body"),
    "null": (b"null", "body"),
}
BROKEN = {
    "nothing": b"",
    "half an object": b'{"features":',
    "another encoding": features(car='"\\u00e4"').decode().encode("utf-16"),
    "invalid UTF-8": features(car='"x"').replace(b"x", b"\xff"),
    "a lone surrogate": features(car='"\\ud800"'),
    "deep arrays": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "very deep objects": b'{"features":' + b'{"a":' * 100_000,
}


def check_problem(answered: Any, status: int, field: str | None) -> None:
    assert answered.headers["content-type"] == "application/problem+json"
    body = answered.json()
    assert answered.status_code == body["status"] == status
    assert {"type", "title", "detail"} <= set(body)
    assert "Traceback" not in body["detail"]
    assert body.get("field") == field


@pytest.mark.parametrize("case", BAD)
def test_what_breaks_the_contract_is_a_problem_that_names_the_field(
    case: str, stand: Stand, client: TestClient
) -> None:
    body, field = BAD[case]
    check_problem(client.post("/v1/predict", content=body), 422, field)
    assert stand.records("predictions") == []
    assert client.post("/v1/predict", json={"features": FEATURES}).status_code == 200


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_not_json_is_a_problem(case: str, client: TestClient) -> None:
    answered = client.post("/v1/predict", content=BROKEN[case])
    assert answered.status_code in {400, 422}
    check_problem(answered, answered.status_code, "body")
    assert client.post("/v1/predict", json={"features": FEATURES}).status_code == 200


def test_a_batch_is_scored_by_one_version_and_kept(stand: Stand, client: TestClient) -> None:
    rows = [{"id": str(n), "features": FEATURES} for n in range(5)]
    answered = client.post("/v1/predict/batch", json={"requests": rows})
    assert [p["id"] for p in answered.json()["predictions"]] == ["0", "1", "2", "3", "4"]
    assert len(stand.records("predictions")) == 5
    assert client.post("/v1/predict/batch", json={"requests": []}).json() == {"predictions": []}


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([{"features": FEATURES}] * 3 + [{"features": {**FEATURES, "salary": "x"}}], "requests[3].features.salary"),
        ([{"features": FEATURES}, 5], "requests[1]"),
        ([{"features": FEATURES}, {"features": {**FEATURES, "car": []}}], "requests[1].features.car"),
        ([{"features": {**FEATURES, "salary": float("nan")}}], "requests[0].features.salary"),
        ("x", "requests"),
        (None, "requests"),
    ],
)
def test_one_bad_row_refuses_the_batch(rows: Any, field: str, stand: Stand, client: TestClient) -> None:
    body = json.dumps({"requests": rows})
    check_problem(client.post("/v1/predict/batch", content=body), 422, field)
    assert stand.records("predictions") == []


def test_a_batch_has_at_most_so_many_rows() -> None:
    stand = Stand(settings=Settings(max_batch_rows=2))
    with TestClient(stand.app()) as client:
        check_problem(
            client.post("/v1/predict/batch", json={"requests": [{"features": FEATURES}] * 3}), 422, "requests"
        )


def test_labels_are_kept_in_the_pipelines_own_terms(stand: Stand, client: TestClient) -> None:
    assert client.post("/v1/labels", json={"id": "a", "value": "yes"}).json() == {"accepted": 1}
    several = {"labels": [{"id": "b", "value": "no", "event_time_ms": 5}, {"id": "c", "value": "yes"}]}
    answered = client.post("/v1/labels", json=several)
    assert (answered.status_code, answered.json()) == (202, {"accepted": 2})
    kept = [msgspec.json.decode(record.value, type=Label) for record in stand.records("labels")]
    assert [(label.id, label.value) for label in kept] == [("a", "yes"), ("b", "no"), ("c", "yes")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": "a", "value": "maybe"}, "value"),
        ({"id": "a"}, "value"),
        ({"value": "yes"}, "id"),
        ({"labels": [{"id": "a", "value": "yes"}, {"id": "b", "value": "?"}]}, "labels[1].value"),
        ({"labels": 5}, "labels"),
    ],
)
def test_bad_labels_are_refused_together(body: Any, field: str, stand: Stand, client: TestClient) -> None:
    check_problem(client.post("/v1/labels", json=body), 422, field)
    assert stand.records("labels") == []


@pytest.mark.parametrize("route", ["/v1/predict", "/v1/predict/batch", "/v1/labels"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_is_refused_whatever_its_framing(route: str, chunked: bool, client: TestClient) -> None:
    size = 10 * 1024 * 1024
    content = (b"x" * 65_536 for _ in range(size // 65_536)) if chunked else b"x" * size
    check_problem(client.post(route, content=content), 413, "body")
    assert client.post("/v1/predict", json={"features": FEATURES}).status_code == 200


def test_a_client_that_waits_for_our_word_is_told_at_once(client: TestClient) -> None:
    headers = {"Expect": "100-continue", "Content-Length": str(10**9)}
    check_problem(client.post("/v1/predict", content=b"", headers=headers), 413, "body")


def test_when_the_log_is_away_it_says_when_to_retry(
    stand: Stand, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_messages: object) -> list[int]:
        raise LogUnavailableError("disk full at /secret/place")

    monkeypatch.setattr(stand.log, "append", away)
    for route, body in (("/v1/predict", {"features": FEATURES}), ("/v1/labels", {"id": "a", "value": "yes"})):
        answered = client.post(route, json=body)
        check_problem(answered, 503, None)
        assert answered.headers["retry-after"] == "1"
        assert "secret" not in answered.text
    monkeypatch.undo()
    assert client.post("/v1/predict", json={"features": FEATURES}).status_code == 200


def test_a_client_does_not_wait_for_ever_for_the_log(
    stand: Stand, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    append = stand.log.append

    def held(messages: Any) -> Any:
        released.wait(10)
        return append(messages)

    monkeypatch.setattr(predict, "ANSWER_WITHIN_S", 0.05)
    monkeypatch.setattr(stand.log, "append", held)
    try:
        answered = client.post("/v1/predict", json={"features": FEATURES})
    finally:
        released.set()
    check_problem(answered, 503, None)
    assert answered.headers["retry-after"] == "1"
    monkeypatch.undo()
    assert client.post("/v1/predict", json={"features": FEATURES}).status_code == 200


class Broken(Constant):
    def score_many(self, rows: Any) -> Any:
        raise ZeroDivisionError("inner workings")


def test_a_bug_is_a_problem_without_a_traceback(
    stand: Stand, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "score_requests", Broken(0.1).score_many)
    answered = client.post("/v1/predict", json={"features": FEATURES})
    check_problem(answered, 500, None)
    assert "inner" not in answered.text


def test_a_champion_that_cannot_score_is_stood_in_for_and_told_of(stand: Stand, client: TestClient) -> None:
    serving = stand.served.serving
    stand.served._serving = serving._replace(generation=4, champion=Loaded("v2", "batch", Broken(0.1)))
    for _ in range(6):
        answered = client.post("/v1/predict", json={"features": FEATURES})
        assert (answered.status_code, answered.json()["version"], answered.json()["generation"]) == (200, "prior", 4)
    commands = [msgspec.json.decode(record.value, type=Command) for record in stand.records("commands")]
    assert [(command.id, command.value, command.limit) for command in commands] == [("health-v2-4-failures", 4.0, 3.0)]
    (alert,) = [msgspec.json.decode(record.value, type=Alert) for record in stand.records("alerts")]
    assert (alert.title, alert.detail) == ("model v2 cannot score; prior answers", "ZeroDivisionError: inner workings")
    counted = stand.telemetry.registry.get_sample_value(
        "penstock_fallbacks_total", {"version": "v2", "answered_by": "prior"}
    )
    assert counted == 6


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("GET", "/v1/predict", 405), ("PUT", "/", 405)]
)
def test_unknown_routes_and_methods_are_problems(method: str, path: str, status: int, client: TestClient) -> None:
    check_problem(client.request(method, path), status, None)


def test_other_web_sites_cannot_write(stand: Stand, client: TestClient) -> None:
    body = {"features": FEATURES}
    check_problem(client.post("/v1/predict", json=body, headers={"Sec-Fetch-Site": "cross-site"}), 403, None)
    assert client.post("/v1/predict", json=body, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert len(stand.records("predictions")) == 1


def test_multiclass_and_entity_pipelines() -> None:
    pipeline = Pipeline(
        name="kinds",
        task="multiclass",
        target="kind",
        features=(Numeric("x"), Categorical("c")),
        classes=("a", "b", "c"),
        entity="who",
    )
    stand = Stand(pipeline=pipeline)
    stand.served._serving = stand.served.serving._replace(
        champion=stand.served.serving.champion._replace(model=Constant({"a": 0.2, "b": 0.7, "c": 0.1}))
    )
    body = {"id": "1", "features": {"x": 1, "c": "q"}}
    with TestClient(stand.app()) as client:
        check_problem(client.post("/v1/predict", json=body), 422, "entity")
        answered = client.post("/v1/predict", json={**body, "entity": "bob"}).json()
        assert (answered["decision"], answered["scores"]["b"], answered["entity"]) == ("b", 0.7, "bob")


def hot_swap_under_load(stand: Stand, client: TestClient, swaps: int) -> int:
    """Swap under four asking threads, check every answer, and return how many there were."""
    answers: list[list[dict[str, Any]]] = []
    failures: list[str] = []
    done = threading.Event()

    def ask() -> None:
        mine: list[dict[str, Any]] = []
        answers.append(mine)
        rows = {"requests": [{"features": FEATURES}] * 3}
        while not done.is_set():
            answered = client.post("/v1/predict/batch", json=rows)
            if answered.status_code != 200:
                failures.append(answered.text)
                return
            batch = answered.json()["predictions"]
            if len({(p["version"], p["generation"]) for p in batch}) != 1:
                failures.append(f"mixed: {batch}")
            mine.append(batch[0])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    pause = threading.Event()

    def wait_for(condition: Callable[[], bool]) -> None:
        for _ in range(3000):
            if condition():
                return
            pause.wait(0.01)
        raise AssertionError("not within 30 s")

    try:
        for generation in range(1, swaps + 1):
            stand.champion(f"v{generation}", generation)
            # Swapped, and answered by: called before the next one.
            wait_for(lambda: any(mine and mine[-1]["generation"] >= generation for mine in answers))  # noqa: B023
            if generation % 10 == 0:  # a bad one in between never replaces a good one
                bad = ModelRecord(
                    slot="champion", version="bad", kind="batch", generation=generation, uri="gone", digest="0"
                )
                stand.append("models", bad)
                # Seen before the next good one: of two records in one read only the newer counts.
                wait_for(lambda: len(stand.refused) >= generation // 10)  # noqa: B023
    finally:
        done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    for mine in answers:
        generations = [answer["generation"] for answer in mine]
        assert generations == sorted(generations)
        for answer in mine:
            expected = 0.5 if answer["version"] == "online" else score_of(answer["version"])
            assert answer["score"] == expected
            assert answer["version"] == ("online" if answer["generation"] == 0 else f"v{answer['generation']}")
    assert max(answer["generation"] for mine in answers for answer in mine) == swaps
    assert len(stand.refused) >= 1
    return sum(len(mine) for mine in answers)


def test_hot_swap_under_load_fails_no_request_and_mixes_no_versions(stand: Stand, client: TestClient) -> None:
    assert hot_swap_under_load(stand, client, swaps=40) >= 40


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
near_requests = st.fixed_dictionaries(
    {"features": st.fixed_dictionaries({f.name: json_values for f in PIPELINE.features}) | json_values},
    optional={"id": json_values, "entity": json_values, "event_time_ms": json_values, "extra": json_values},
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda value: json.dumps(value).encode(errors="surrogatepass"), near_requests | json_values),
    st.builds(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"), near_requests),
    st.builds(
        lambda rows: json.dumps({"requests": rows, "labels": rows}).encode(), st.lists(near_requests, max_size=3)
    ),
)


@pytest.fixture(scope="module")
def fuzzed() -> Any:
    with TestClient(Stand().app(), raise_server_exceptions=False) as client:
        yield client


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, route=st.sampled_from(["/v1/predict", "/v1/predict/batch", "/v1/labels"]))
def test_no_body_is_ever_a_server_error(fuzzed: TestClient, body: bytes, route: str) -> None:
    answered = fuzzed.post(route, content=body)
    assert answered.status_code < 500, (answered.text, body)
    if answered.status_code >= 400:
        assert answered.headers["content-type"] == "application/problem+json"
        assert "detail" in answered.json()
