from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from penstock.errors import LogError, LogUnavailableError
from penstock.log import kafka_topics
from penstock.log.kafka_options import KafkaOptions, KafkaSecurity
from penstock.log.port import TopicConfig
from tests.broker.java import free_port
from tests.broker.shared import Kafka

CONFIGS = [TopicConfig("a", 2, retention_ms=60_000), TopicConfig("b", 1, compact=True)]


@pytest.fixture
def options(kafka: Kafka) -> KafkaOptions:
    return KafkaOptions(bootstrap=kafka.bootstrap, pipeline=f"p{uuid.uuid4().hex[:8]}")


def test_topics_are_created_once_as_configured(options: KafkaOptions) -> None:
    with pytest.raises(LogError, match="create them with `penstock topics create`") as missing:
        kafka_topics.check_topics(options, CONFIGS)
    assert f"{options.pipeline}.a.v1, {options.pipeline}.b.v1" in str(missing.value)
    assert kafka_topics.ensure_topics(options, CONFIGS) == ["a", "b"]
    assert kafka_topics.ensure_topics(options, CONFIGS) == []
    kafka_topics.check_topics(options, CONFIGS)
    assert kafka_topics.partition_counts(options, ["a", "b", "c"]) == {"a": 2, "b": 1}
    expected = {
        "a": {"retention.ms": "60000", "cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"},
        "b": {"retention.ms": "-1", "cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"},
    }
    admin = KafkaAdminClient(bootstrap_servers=options.bootstrap)
    for topic, wanted in expected.items():
        resource = ConfigResource(ConfigResourceType.TOPIC, f"{options.pipeline}.{topic}.v1")
        described = admin.describe_configs([resource])
        assert wanted.items() <= _flat(described).items()
    admin.close()


def _flat(described: object) -> dict[str, str]:
    """Names and values, however deep the client nests them."""
    found: dict[str, str] = {}
    if isinstance(described, dict):
        for name, value in described.items():
            if isinstance(value, dict) and "value" in value:
                found[name] = str(value["value"])
            else:
                found |= _flat(value)
    elif isinstance(described, list | tuple):
        for value in described:
            found |= _flat(value)
    return found


def test_another_partition_count_creates_nothing(options: KafkaOptions) -> None:
    kafka_topics.ensure_topics(options, CONFIGS[:1])
    for call in (kafka_topics.ensure_topics, kafka_topics.check_topics):
        with pytest.raises(LogError, match="has 2 partitions, not 3; set the pipeline's partitions to 2"):
            call(options, [TopicConfig("a", 3), TopicConfig("z", 1)])
    assert kafka_topics.partition_counts(options, ["z"]) == {}


def test_a_group_that_nobody_joined(options: KafkaOptions) -> None:
    kafka_topics.remove_member(options, f"{options.pipeline}.g", "m")
    assert kafka_topics.committed_offsets(options, f"{options.pipeline}.g") == {}


def test_a_broker_that_is_away_is_named_at_once() -> None:
    options = KafkaOptions(bootstrap=f"localhost:{free_port()}", pipeline="p")
    start = time.monotonic()
    with pytest.raises(LogUnavailableError, match=options.bootstrap):
        kafka_topics.ensure_topics(options, CONFIGS)
    assert time.monotonic() - start < 5


@pytest.fixture
def mute() -> Iterator[str]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _accept(server: socket.socket) -> None:
    held = []
    while True:
        try:
            held.append(server.accept())
        except OSError:
            return


def test_a_broker_that_never_answers_is_given_up(mute: str) -> None:
    start = time.monotonic()
    with pytest.raises(LogUnavailableError, match="no broker answers"):
        kafka_topics.ensure_topics(KafkaOptions(bootstrap=mute, pipeline="p"), CONFIGS)
    assert time.monotonic() - start < 15
    assert not [thread for thread in threading.enumerate() if thread.name == "kafka-io-penstock-p"]


def test_tls_against_a_plain_listener_is_one_clear_line(options: KafkaOptions) -> None:
    wrong = KafkaOptions(bootstrap=options.bootstrap, pipeline="p", security=KafkaSecurity(protocol="SSL"))
    with pytest.raises(LogError, match="PENSTOCK_KAFKA_SECURITY_PROTOCOL") as refused:
        kafka_topics.check_topics(wrong, CONFIGS)
    assert "\n" not in str(refused.value)


def test_the_client_never_logs_records_nor_on_standard_error(
    options: KafkaOptions, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("kafka")
    logger.setLevel(logging.DEBUG)
    kafka_topics.partition_counts(options, ["a"])
    assert logger.level >= logging.WARNING
    with pytest.raises(LogUnavailableError):
        kafka_topics.partition_counts(KafkaOptions(bootstrap=f"localhost:{free_port()}", pipeline="p"), ["a"])
    assert capfd.readouterr().err == ""
