"""The same service on the embedded log, where every answer waits for the disk."""

import json
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from penstock.log.port import TopicPartition
from tests.unit.serving.stand import FEATURES, Stand, score_of
from tests.unit.serving.test_predict import hot_swap_under_load
from tests.unit.serving.test_streams import alert, read, serving


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(directory=tmp_path)


def test_answers_survive_the_process(stand: Stand, tmp_path: Path) -> None:
    stand.champion("v1", 1)
    with TestClient(stand.app()) as client:
        answered = client.post("/v1/predict", json={"id": "a", "features": FEATURES})
        assert client.post("/v1/labels", json={"id": "a", "value": "yes"}).status_code == 202
    assert answered.json()["score"] == score_of("v1")
    stand.log.close()
    later = Stand(directory=tmp_path)
    assert [record.value for record in later.records("predictions")] == [answered.content]
    assert [json.loads(record.value)["value"] for record in later.records("labels")] == ["yes"]
    later.log.close()


def test_streams_resume(stand: Stand) -> None:
    stand.append("alerts", *(alert(n) for n in range(3)))
    with serving(stand) as url:
        first = read(f"{url}/v1/stream?topics=alerts&from=start", 2)
        httpx.post(f"{url}/v1/labels", json={"id": "a", "value": "no"}).raise_for_status()
        stand.append("alerts", alert(3))
        rest = read(f"{url}/v1/stream?topics=alerts", 2, headers={"Last-Event-ID": first[-1]["id"]})
    assert [event["data"]["id"] for event in first + rest] == ["0", "1", "2", "3"]
    stand.log.close()


def test_hot_swap_under_load(stand: Stand) -> None:
    with TestClient(stand.app()) as client:
        answered = hot_swap_under_load(stand, client, swaps=15)
    first, end = stand.log.bounds(TopicPartition("predictions", 0))
    assert end - first == 3 * answered
    stand.log.close()
