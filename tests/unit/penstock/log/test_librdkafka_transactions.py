"""Transactions against a producer that fails in chosen ways; the real one is in the conformance and system tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException

from penstock.errors import FencedError, LogError, LogUnavailableError
from penstock.log import librdkafka_transactions as module
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka_transactions import Transactions

OFFSETS = [confluent_kafka.TopicPartition("in", 0, 1)]


class Producer:
    """Starts with ``error``, if there is one; offsets wait for ``back``."""

    def __init__(self, error: KafkaError | None = None) -> None:
        self.error, self.back = error, threading.Event()
        self.given_s: list[float] = []

    def init_transactions(self, _timeout_s: float) -> None:
        if self.error is not None:
            raise KafkaException(self.error)

    def begin_transaction(self) -> None:
        """Always."""

    def produce(self, *_: object, **__: object) -> None:
        """Taken."""

    def send_offsets_to_transaction(self, _offsets: object, _metadata: object, timeout_s: float) -> None:
        self.given_s.append(timeout_s)
        self.back.wait()

    def commit_transaction(self, _timeout_s: float) -> None:
        """Always."""

    def poll(self, _timeout_s: float) -> None:
        """Nothing to tell."""


class Bench:
    def __init__(self, request_timeout_ms: int = 300) -> None:
        options = KafkaOptions(bootstrap="a:1", pipeline="p", request_timeout_ms=request_timeout_ms)
        self.made: list[Producer] = []
        self.transactions: Any = Transactions(options, "g", "m")
        self.transactions._make = self.make
        self.transactions._producer = self.make()

    def make(self) -> Producer:
        self.made.append(Producer())
        return self.made[-1]

    def run(self) -> None:
        self.transactions.run([], [], OFFSETS, None)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "_FIRST_TRY_S", 0.05)
    monkeypatch.setattr(module, "_GRACE_S", 0.05)
    made = Bench()
    yield made
    for producer in made.made:
        producer.back.set()


def test_a_producer_that_does_not_come_back_from_adding_offsets_is_given_up_soon(bench: Bench) -> None:
    began = time.monotonic()
    with pytest.raises(LogUnavailableError):
        bench.run()
    assert time.monotonic() - began < 0.3
    assert len(bench.made) == 2, "the next call gets a fresh one, which ends the transaction"


def test_each_try_may_take_twice_as_long_up_to_the_request_time_out_and_success_forgets(bench: Bench) -> None:
    for _ in range(5):
        with pytest.raises(LogUnavailableError):
            bench.run()
    given = [producer.given_s[0] for producer in bench.made[:5]]
    assert given == pytest.approx([0.05, 0.1, 0.2, 0.3, 0.3], abs=0.01)
    bench.made[-1].back.set()
    bench.run()
    bench.run()
    assert bench.made[-1].given_s == pytest.approx([0.3, 0.05], abs=0.01)
    assert not bench.transactions.unfinished


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (KafkaError.INVALID_TRANSACTION_TIMEOUT, LogError, "PENSTOCK_KAFKA_TRANSACTION_TIMEOUT_MS is 15000, more than"),
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, LogError, "rights"),
        (KafkaError.PRODUCER_FENCED, FencedError, "another process"),
        (KafkaError._FATAL, FencedError, "another process"),
    ],
)
def test_a_fatal_error_is_a_namesake_unless_it_says_what_else(code: int, kind: type[Exception], words: str) -> None:
    bench = Bench()
    bench.made[0].error = KafkaError(code, "", fatal=True)
    with pytest.raises(LogError, match=words) as caught:
        bench.transactions.start()
    assert type(caught.value) is kind
    assert bench.transactions.fenced is (kind is FencedError)
