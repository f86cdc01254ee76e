"""Transactions by a client that does not come back; the real one is in the conformance and system tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.structs import TopicPartition

from penstock.errors import LogUnavailableError
from penstock.log import kafka_producer as module
from penstock.log.kafka_options import KafkaOptions
from penstock.log.kafka_watchdog import Watchdog

OFFSETS = {TopicPartition("in", 0): 1}
GROUP: Any = None


class Client:
    """Adding offsets waits for ``back``."""

    def __init__(self) -> None:
        self.back = threading.Event()
        self.committed = self.ended = False
        self._transaction_manager = SimpleNamespace(last_error=None)
        self._sender = SimpleNamespace(force_close=self.end, join=lambda _timeout_s: None)

    def init_transactions(self) -> None:
        """At once."""

    def begin_transaction(self) -> None:
        """At once."""

    def send_offsets_to_transaction(self, *_: object) -> None:
        self.back.wait()

    def flush(self, timeout: float) -> None:
        """Nothing was sent."""

    def commit_transaction(self) -> None:
        self.committed = True

    def end(self) -> None:
        self.ended = True

    def _unregister_cleanup(self) -> None:
        """Nothing to do at the end of the process."""


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Client]]:
    made: list[Client] = []

    def open_client(*_: object) -> Client:
        made.append(Client())
        return made[-1]

    monkeypatch.setattr(module, "open_client", open_client)
    monkeypatch.setattr(module, "FIRST_TRY_S", 0.05)
    yield made
    for client in made:
        client.back.set()


def test_a_client_that_does_not_come_back_from_adding_offsets_is_left_behind(clients: list[Client]) -> None:
    hung: list[str] = []
    dog = Watchdog(limit_s=10, action=hung.append)
    options = KafkaOptions(bootstrap="a:1", pipeline="p", request_timeout_ms=300)
    producer = module.TransactionalProducer(options, "g.m", dog)
    for expected_s in (0.05, 0.1, 0.2, 0.3, 0.3):
        began = time.monotonic()
        with pytest.raises(LogUnavailableError):
            producer.commit([], OFFSETS, GROUP)
        assert expected_s <= time.monotonic() - began < expected_s + 0.5
        assert clients[-1].ended
        assert not clients[-1].committed
    assert producer._producer is None, "the next call makes a fresh one, which ends the transaction"
    clients_before = len(clients)
    producer._producer = producer._open()
    clients[-1].back.set()
    producer.commit([], OFFSETS, GROUP)
    assert clients[-1].committed
    assert len(clients) == clients_before + 1
    assert hung == [], "the process goes on"
    dog.close()
