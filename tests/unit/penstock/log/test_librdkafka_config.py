from __future__ import annotations

import pytest

from penstock.log.kafka_options import KafkaOptions, KafkaSecurity
from penstock.log.librdkafka_config import (
    append_config,
    client_config,
    member_config,
    reader_config,
    transactional_config,
)

PLAIN = KafkaOptions(bootstrap="a:1,b:2", pipeline="p")
FILES = {"ca_file": "ca.pem", "cert_file": "cert.pem", "key_file": "key.pem"}


def ignore(*_: object) -> None:
    """No callback."""


def secured(**security: str) -> KafkaOptions:
    return KafkaOptions(bootstrap="a:1", pipeline="p", security=KafkaSecurity(**security))  # type: ignore[arg-type]


def test_without_security_no_credentials_and_files_are_given() -> None:
    config = client_config(PLAIN, ignore)
    assert config["bootstrap.servers"] == "a:1,b:2"
    assert config["security.protocol"] == "PLAINTEXT"
    assert not [name for name in config if name.startswith(("sasl", "ssl"))]


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_files_are_given_where_tls_is_used(protocol: str) -> None:
    config = client_config(secured(protocol=protocol, **FILES), ignore)
    names = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
    assert [config[name] for name in names] == list(FILES.values())
    assert not [name for name in client_config(secured(protocol=protocol), ignore) if name.startswith("ssl")]


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_credentials_are_given_where_they_are_used(protocol: str) -> None:
    config = client_config(secured(protocol=protocol, username="u", password="w", mechanism="PLAIN"), ignore)  # noqa: S106
    assert [config[f"sasl.{name}"] for name in ("mechanism", "username", "password")] == ["PLAIN", "u", "w"]
    unused = client_config(secured(protocol="SSL", username="u", password="w"), ignore)  # noqa: S106
    assert not [name for name in unused if name.startswith("sasl")]


def test_nothing_is_read_that_is_not_committed_nor_skipped_nor_stored_behind_our_back() -> None:
    for config in (member_config(PLAIN, ignore, "g", "m"), reader_config(PLAIN, ignore, reset="error")):
        assert config["isolation.level"] == "read_committed"
        assert config["auto.offset.reset"] == "error"
        assert config["enable.auto.commit"] is config["enable.auto.offset.store"] is False


def test_a_member_is_static_and_hands_over_step_by_step() -> None:
    config = member_config(PLAIN, ignore, "g", "m")
    assert (config["group.id"], config["group.instance.id"]) == ("g", "m")
    assert config["partition.assignment.strategy"] == "cooperative-sticky"


def test_the_poll_interval_is_at_least_the_session() -> None:
    options = KafkaOptions(bootstrap="a:1", pipeline="p", session_timeout_ms=9_000, max_poll_interval_ms=1_000)
    assert member_config(options, ignore, "g", "m")["max.poll.interval.ms"] == 9_000


def test_heartbeats_are_quick_enough_for_a_hand_over() -> None:
    assert member_config(PLAIN, ignore, "g", "m")["heartbeat.interval.ms"] == 500


def test_no_request_of_a_transaction_outlives_it() -> None:
    options = KafkaOptions(bootstrap="a:1", pipeline="p", transaction_timeout_ms=4_000, request_timeout_ms=10_000)
    config = transactional_config(options, ignore, "g.m", ignore)
    assert config["transactional.id"] == "g.m"
    assert config["socket.timeout.ms"] == config["transaction.timeout.ms"] == 4_000


@pytest.mark.parametrize("ingress_bytes", [1_000, 4 << 30])
def test_the_queue_of_appends_is_larger_than_what_is_let_in(ingress_bytes: int) -> None:
    config = append_config(KafkaOptions(bootstrap="a:1", pipeline="p", ingress_bytes=ingress_bytes), ignore)
    assert config["queue.buffering.max.kbytes"] * 1024 >= 2 * ingress_bytes
    assert config["enable.idempotence"] is True
    assert config["acks"] == "all"
