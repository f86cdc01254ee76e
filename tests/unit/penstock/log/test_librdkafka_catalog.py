from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Producer

from penstock.errors import LogError, UnknownTopicError
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_catalog import Catalog, open_client
from penstock.log.partitioner import partition_for
from penstock.log.port import Message, TopicPartition

OPTIONS = KafkaOptions(bootstrap="a:1", pipeline="p")


class Cluster:
    """Lists its topics, and counts how often it was asked."""

    def __init__(self, **counts: int) -> None:
        self.asked = 0
        self._topics = {f"p.{topic}.v1": SimpleNamespace(error=None, partitions=[0] * n) for topic, n in counts.items()}

    def list_topics(self, timeout: float) -> Any:
        assert timeout > 0
        self.asked += 1
        return SimpleNamespace(topics=self._topics)

    def poll(self, _: float) -> int:
        return 0


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster(out=4, one=1)
    monkeypatch.setattr(Catalog, "_client", lambda _: cluster)
    return cluster


def test_targets_are_those_of_the_key_or_as_told(cluster: Cluster) -> None:
    catalog = Catalog(OPTIONS)
    sent = [
        Message("out", b"k", b""),
        Message("out", b"k", b"", 2),
        Message("out", None, b""),
        Message("one", b"x", b""),
    ]
    of_key = partition_for(b"k", 4)
    assert catalog.targets(sent) == [("p.out.v1", of_key), ("p.out.v1", 2), ("p.out.v1", 0), ("p.one.v1", 0)]
    catalog.targets(sent)
    assert cluster.asked == 2, "once for each topic"


@pytest.mark.parametrize(
    "wrong", [Message("nowhere", None, b""), Message("out", None, b"", 4), Message("one", None, b"", -1)]
)
def test_what_is_not_there_is_no_target(cluster: Cluster, wrong: Message) -> None:
    with pytest.raises(UnknownTopicError):
        Catalog(OPTIONS).targets([Message("out", None, b""), wrong])


def test_an_unknown_topic_is_asked_for_again(cluster: Cluster) -> None:
    catalog = Catalog(OPTIONS)
    for _ in range(2):
        with pytest.raises(UnknownTopicError):
            catalog.check(TopicPartition("nowhere", 0))
    assert cluster.asked == 2


def test_a_place_is_named_as_in_the_cluster() -> None:
    place = Catalog(OPTIONS).place(TopicPartition("out", 3), 7)
    assert (place.topic, place.partition, place.offset) == ("p.out.v1", 3, 7)
    assert Catalog(OPTIONS).place(TopicPartition("out", 3)).offset == OFFSET_BEGINNING


def test_settings_that_cannot_be_used_are_one_line() -> None:
    with pytest.raises(LogError, match="kafka at a:1: the settings cannot be used") as caught:
        open_client(OPTIONS, lambda: Producer({"no.such.setting": 1}))
    assert "\n" not in str(caught.value)
