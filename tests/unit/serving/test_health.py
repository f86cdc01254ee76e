import json
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient

from penstock.errors import LogUnavailableError
from penstock.events import Alert, ModelRecord
from serving.page import ASSETS, CONTENT_POLICY
from tests.unit.serving.stand import FEATURES, Stand, score_of


def until(condition: Any, seconds: float = 5) -> None:
    wait = threading.Event()
    for _ in range(int(seconds * 100)):
        if condition():
            return
        wait.wait(0.01)
    raise AssertionError("it did not come true")


def test_the_model_route_says_what_is_served(stand: Stand, client: TestClient) -> None:
    prior = client.get("/v1/model").json()
    assert (prior["version"], prior["kind"], prior["generation"], prior["snapshot"]) == ("online", "prior", 0, 0)
    assert [feature["name"] for feature in prior["features"]] == ["salary", "car", "owner"]
    stand.champion("v1", 1)
    until(lambda: client.get("/v1/model").json()["version"] == "v1")
    batch = client.get("/v1/model").json()
    assert (batch["kind"], batch["generation"]) == ("batch", 1)
    assert [shadow["version"] for shadow in batch["shadows"]] == ["online"]


def test_what_was_promoted_before_the_start_is_served_from_the_first_request_on(stand: Stand) -> None:
    stand.champion("v1", 3)
    stand.champion("v2", 4)
    with TestClient(stand.app()) as client:
        answered = client.post("/v1/predict", json={"features": FEATURES}).json()
    assert (answered["version"], answered["generation"], answered["score"]) == ("v2", 4, score_of("v2"))


def test_an_app_can_be_started_again_and_misses_nothing(stand: Stand) -> None:
    app = stand.app()
    for generation in (1, 2, 3):
        stand.champion(f"v{generation}", generation)
        with TestClient(app) as client:
            answered = client.post("/v1/predict", json={"features": FEATURES}).json()
            assert (answered["version"], answered["generation"]) == (f"v{generation}", generation)
            until(lambda n=generation: client.get("/v1/dashboard").json()["throughput"]["predictions"] == n)


def test_a_refused_model_leaves_the_old_one(stand: Stand, client: TestClient) -> None:
    stand.champion("v1", 1)
    until(lambda: stand.served.serving.generation == 1)
    stand.champion("v2", 2, signature="0" * 64)
    until(lambda: stand.refused)
    assert "v2" in stand.refused[0]
    assert client.post("/v1/predict", json={"features": FEATURES}).json()["version"] == "v1"
    stand.champion("v3", 3)
    until(lambda: stand.served.serving.generation == 3)


def test_a_refusal_that_could_not_be_told_is_tried_again(stand: Stand, client: TestClient) -> None:
    told: list[str] = []

    def refused(record: ModelRecord, why: str) -> None:
        if not told:
            told.append("lost")
            raise LogUnavailableError("away")
        told.append(record.version)

    stand.served._on_refused = refused
    stand.champion("v2", 2, signature="0" * 64)
    until(lambda: told == ["lost", "v2"])
    stand.champion("v3", 3)
    until(lambda: client.get("/v1/model").json()["version"] == "v3")


def test_a_model_is_warmed_up_on_rows_that_were_really_asked(stand: Stand, client: TestClient) -> None:
    client.post("/v1/predict", json={"features": {**FEATURES, "salary": 4711}}).raise_for_status()
    until(lambda: client.get("/v1/dashboard").json()["throughput"]["predictions"] == 1)
    stand.champion("v1", 1)
    until(lambda: stand.served.serving.generation == 1)
    assert [row["salary"] for row in stand.served._recent] == [4711.0]


def test_the_canary_answers_its_entities_over_http(stand: Stand, client: TestClient) -> None:
    stand.champion("v1", 1)
    assert client.get("/v1/model").json()["canary"] is None
    stand.champion("v2", 1, slot="canary", share=0.5, run_id="r")
    until(lambda: client.get("/v1/model").json()["canary"] == {"version": "v2", "share": 0.5})
    answered = [client.post("/v1/predict", json={"id": f"i{n}", "features": FEATURES}).json() for n in range(30)]
    found = {
        (each["role"], each["version"], each["score"]) for each in ({"role": "champion"} | each for each in answered)
    }
    assert found == {("champion", "v1", score_of("v1")), ("canary", "v2", score_of("v2"))}
    again = client.post("/v1/predict", json={"id": "i0", "features": FEATURES}).json()
    assert again["version"] == answered[0]["version"], "an entity keeps its version"


def test_records_that_do_not_decode_do_not_stop_the_swaps(stand: Stand, client: TestClient) -> None:
    stand.append("models", Alert(id="no", severity="info", title="not a model", detail="", at_ms=0, source="s"))
    stand.champion("v1", 1)
    until(lambda: client.get("/v1/model").json()["version"] == "v1")


def test_health(stand: Stand, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}

    def away(_partition: object) -> None:
        raise LogUnavailableError("gone")

    monkeypatch.setattr(stand.log, "bounds", away)
    answered = client.get("/health/ready")
    assert (answered.status_code, answered.headers["content-type"]) == (503, "application/problem+json")
    assert answered.headers["retry-after"] == "1"
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready", "/metrics", "/v1/model", "/v1/dashboard"])
def test_probes_that_ask_for_the_head_only_are_answered(path: str, client: TestClient) -> None:
    assert client.head(path).status_code == 200


def test_a_process_whose_threads_have_ended_is_not_live(stand: Stand) -> None:
    app = stand.app()
    with TestClient(app) as client:
        assert client.get("/health/live").status_code == 200
    late = TestClient(app)  # without its lifespan: the threads are over
    assert late.get("/health/live").status_code == 503
    assert late.get("/health/ready").status_code == 503


def test_metrics_count_requests_by_route_and_predictions_by_version(client: TestClient) -> None:
    client.post("/v1/predict", json={"features": FEATURES})
    client.post("/v1/predict", content=b"{")
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'penstock_http_requests_total{route="/v1/predict",status="200"} 1.0' in text
    assert 'penstock_http_requests_total{route="/v1/predict",status="400"} 1.0' in text
    assert 'penstock_http_requests_total{route="unmatched",status="404"} 1.0' in text
    assert 'penstock_predictions_total{version="online"} 1.0' in text
    assert 'penstock_http_seconds_count{route="/v1/predict"} 2.0' in text


def test_openapi_names_the_features_and_every_reference_resolves(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    request = schemas["Request"]
    assert request["required"] == ["features"]
    assert request["properties"]["features"]["required"] == ["salary", "car", "owner"]
    assert request["properties"]["features"]["properties"]["salary"]["type"] == ["number", "null"]
    references = {part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]}
    assert references <= set(schemas)
    assert {"/v1/predict", "/v1/predict/batch", "/v1/labels", "/v1/model", "/v1/stream"} <= set(document["paths"])


def test_the_page_and_its_assets_need_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-security-policy"] == CONTENT_POLICY
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.head("/").status_code == 200
    for name, kind in ASSETS.items():
        asset = client.get(f"/assets/{name}")
        assert (asset.status_code, asset.headers["content-type"].split(";")[0]) == (200, kind)
        if not name.startswith("vendor") and not name.endswith(".svg"):
            assert "//" not in asset.text.replace("// ", "").replace("http://www.w3.org/2000/svg", "")
            assert "innerHTML" not in asset.text
    assert "http" not in page.text
    assert client.get("/assets/../app.py").status_code == 404
    assert client.get("/assets/index.html").status_code == 404


def test_the_dashboard_is_one_snapshot(stand: Stand, client: TestClient) -> None:
    snapshot = client.get("/v1/dashboard").json()
    assert (snapshot["since"], snapshot["pipeline"], snapshot["task"]) == (0, "loans", "binary")
    assert snapshot["served"]["version"] == "online"
