"""Both adapters of Kafka pass the suite of the log, on a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from penstock.clock import Clock
from penstock.log.kafka_options import KafkaOptions
from penstock.log.port import Log, TopicPartition
from penstock.testing import log_conformance
from penstock.testing.log_conformance import Check
from penstock.testing.log_subject import Subject
from tests.broker.shared import Kafka


def _adapters() -> dict[str, Callable[[KafkaOptions], Log]]:
    names = {
        "librdkafka": ("penstock.log.librdkafka", "LibrdkafkaLog"),
        "kafka-python": ("penstock.log.kafka", "KafkaPythonLog"),
    }
    return {name: getattr(import_module(m), c) for name, (m, c) in names.items() if find_spec(m)}


ADAPTERS = _adapters()


def options(kafka: Kafka) -> KafkaOptions:
    """A pipeline of its own on the shared broker, and little patience."""
    return KafkaOptions(
        bootstrap=kafka.bootstrap,
        pipeline=f"p{uuid.uuid4().hex[:12]}",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=200,
        transaction_timeout_ms=6_000,
        request_timeout_ms=10_000,
        delivery_timeout_ms=10_000,
    )


class OwnGroups:
    """A log whose groups are its own: a cluster has one set of groups, and all those of the suite are named alike."""

    def __init__(self, log: Log, prefix: str) -> None:
        self._log, self._prefix = log, prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def join(self, group: str, *rest: Any) -> Any:
        return self._log.join(f"{self._prefix}.{group}", *rest)

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        return self._log.committed(f"{self._prefix}.{group}", partition)


@pytest.fixture
def subject(request: pytest.FixtureRequest, kafka: Kafka) -> Subject:
    adapter = ADAPTERS[request.param]

    def open_log(_: Clock) -> Log:
        own = options(kafka)
        return OwnGroups(adapter(own), own.pipeline)

    return Subject(request.param, adapter, open_log)


def name_of(check: Check) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("subject", ADAPTERS, indirect=True)
@pytest.mark.parametrize("check", log_conformance.CHECKS, ids=name_of)
def test_conformance(check: Check, subject: Subject) -> None:
    check(subject)
