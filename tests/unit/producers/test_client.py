"""The client SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from penstock.clock import SystemClock
from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.events import Prediction, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message, TopicPartition
from penstock.spec import Boolean, Categorical, Numeric, Pipeline
from producers.client import Client

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    features=(Numeric("x"), Categorical("c"), Boolean("b")),
    classes=("no", "yes"),
)
BY_ENTITY = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),), entity="who", partitions=3)
GOOD: dict[str, Any] = {"x": 1, "c": "red", "b": None}


@pytest.fixture
def log() -> Iterator[MemoryLog]:
    held = MemoryLog(SystemClock(), topic_configs(1))
    yield held
    held.close()


def held(log: MemoryLog, topic: str, partition: int = 0) -> list[bytes]:
    place = TopicPartition(topic, partition)
    bounds = log.bounds(place)
    return [record.value for record in log.read(place, bounds.first, bounds.end, 1000)]


def test_a_request_and_its_label(log: MemoryLog) -> None:
    client = Client(log, PIPELINE)
    assert client.send_request(GOOD | {"unknown": 5}, id="r1", event_time_ms=5) == "r1"
    client.send_label("r1", "yes", event_time_ms=9)
    (request,), (label,) = held(log, "requests"), held(log, "labels")
    assert msgspec.json.decode(request) == {
        "id": "r1",
        "features": {"x": 1.0, "c": "red", "b": None},
        "event_time_ms": 5,
    }
    assert msgspec.json.decode(label) == {"id": "r1", "value": "yes", "event_time_ms": 9}
    decoder_for("requests", PIPELINE)(request)
    decoder_for("labels", PIPELINE)(label)


def test_ids_of_its_own_differ(log: MemoryLog) -> None:
    client = Client(log, PIPELINE)
    assert client.send_request(GOOD) != client.send_request(GOOD)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"features": {"x": 1}}, "features.c"),
        ({"features": GOOD | {"x": float("nan")}}, "features.x"),
        ({"features": GOOD | {"x": float("inf")}}, "features.x"),
        ({"features": GOOD | {"x": "1"}}, "features.x"),
        ({"features": GOOD | {"x": True}}, "features.x"),
        ({"features": GOOD | {"x": np.int64(3)}}, "features.x"),
        ({"features": GOOD | {"c": 3}}, "features.c"),
        ({"features": GOOD | {"b": "yes"}}, "features.b"),
        ({"id": ""}, "id"),
        ({"id": "x" * 257}, "id"),
        ({"event_time_ms": "noon"}, "event_time_ms"),
        ({"event_time_ms": 10**30}, "event_time_ms"),
        ({"features": GOOD | {"c": "\ud800"}}, ""),
        ({"entity": object()}, ""),
    ],
)
def test_a_broken_request_is_refused_before_it_is_sent(log: MemoryLog, changes: dict[str, Any], field: str) -> None:
    given: dict[str, Any] = {"features": GOOD, "id": "r"} | changes
    features = given.pop("features")
    with pytest.raises(ContractError) as caught:
        Client(log, PIPELINE).send_request(features, **given)
    assert caught.value.field == field
    assert held(log, "requests") == []


@pytest.mark.parametrize("value", ["perhaps", 3, float("nan"), None])
def test_a_broken_label_is_refused_before_it_is_sent(log: MemoryLog, value: Any) -> None:
    with pytest.raises(ContractError):
        Client(log, PIPELINE).send_label("r", value)
    assert held(log, "labels") == []


def test_requests_and_labels_of_an_entity_meet_in_one_partition() -> None:
    log = MemoryLog(SystemClock(), topic_configs(3))
    client = Client(log, BY_ENTITY)
    for number in range(30):
        client.send_request({"x": 1.0}, id=f"r{number}", entity=f"e{number % 7}")
        client.send_label(f"r{number}", 2.5, entity=f"e{number % 7}")
    for partition in range(3):
        requests, labels = (
            [msgspec.json.decode(value)["id"] for value in held(log, topic, partition)]
            for topic in ("requests", "labels")
        )
        assert requests == labels
    with pytest.raises(ContractError, match="entity"):
        client.send_request({"x": 1.0})
    with pytest.raises(ContractError, match="entity"):
        client.send_label("r1", 2.5)


def prediction(id_: str) -> Message:
    event = Prediction(
        id=id_, entity=id_, event_time_ms=0, features={}, version="v", generation=0, decision="no", score=0.25
    )
    return Message("predictions", id_.encode(), encode(event))


def test_scores_are_read_as_they_come(log: MemoryLog) -> None:
    client = Client(log, PIPELINE)
    log.append([prediction("old")])
    following = client.scores(0.2)
    log.append([prediction("a"), prediction("b")])
    assert [score.id for score in following] == ["a", "b"]
    assert [score.id for score in client.scores(0.05, from_start=True)] == ["old", "a", "b"]


def test_scores_can_be_left_early(log: MemoryLog) -> None:
    log.append([prediction("a"), prediction("b")])
    scores = Client(log, PIPELINE).scores(60.0, from_start=True)
    assert next(scores).served == 0.25
    scores.close()  # type: ignore[attr-defined]
