"""What the Kafka log promises when processes stop, die, and brokers go away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from penstock.errors import FencedError, LogError, LogUnavailableError
from penstock.log.kafka import KafkaPythonLog
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka import LibrdkafkaLog
from penstock.log.port import TopicPartition
from penstock.testing.log_subject import ONE, OUT, TOPICS, Listener, all_of, becomes, drain, messages, share, values
from tests.broker.java import JavaBroker
from tests.broker.shared import Kafka
from tests.conformance.test_kafka_log import options

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
KILLS = 3


def opened(of: KafkaOptions) -> LibrdkafkaLog:
    log = LibrdkafkaLog(of)
    log.ensure_topics(TOPICS)
    return log


def leave_open(kafka: Kafka, of: KafkaOptions, transactional_id: str) -> Producer:
    """A transaction on ``out`` that nobody will finish: its process was killed."""
    dead = Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": of.transaction_timeout_ms,
        }
    )
    dead.init_transactions(10)
    dead.begin_transaction()
    dead.produce(f"{of.pipeline}.out.v1", b"never committed", partition=0)
    dead.flush(10)
    return dead


def patiently(call: Callable[[], Any]) -> Any:
    """What ``call`` returns once the log can be reached again: a broker that answers one client is slow to another."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except LogUnavailableError:
            assert time.monotonic() < deadline


def test_a_commit_while_the_broker_is_away_is_written_once(own_broker: Callable[[], JavaBroker]) -> None:
    broker = own_broker()
    of = replace(
        options(Kafka(broker.bootstrap)),
        request_timeout_ms=1_500,
        session_timeout_ms=60_000,  # longer than any start of a broker: a namesake that joins again is another test
        transaction_timeout_ms=60_000,
    )
    with closing(opened(of)) as log:
        offsets = log.append(messages("one", 10))
        listener = Listener(log, "g", ["one"], "m")
        listener.take(10)
        listener.membership.commit(messages("out", 3), {ONE: offsets[3]})
        broker.kill()
        back = threading.Timer(4.0, broker.start)
        refused = 0
        start = time.monotonic()
        back.start()
        while True:
            try:
                listener.membership.commit(messages("out", 4, start=3), {ONE: offsets[7]})
                break
            except LogUnavailableError:
                refused += 1
                assert time.monotonic() - start < 60
        back.join()
        assert refused > 0
        assert patiently(lambda: listener.membership.committed(ONE)) == offsets[7]
        becomes(lambda: values(patiently(lambda: all_of(log, OUT))), [b"%d" % n for n in range(7)])
        patiently(lambda: listener.membership.commit(messages("out", 1, start=7), {ONE: offsets[8]}))
        assert patiently(lambda: log.append(messages("one", 1, start=10))) == [offsets[9] + 1]
        assert values(patiently(lambda: listener.take(1))) == [b"10"]
        becomes(lambda: values(patiently(lambda: all_of(log, OUT))), [b"%d" % n for n in range(8)])
        listener.membership.close()


def join_and_poll(log: Any, group: str) -> None:
    deadline = time.monotonic() + 30
    membership = log.join(group, ["one"], "m", lambda _: None, lambda _: None)
    try:
        while time.monotonic() < deadline:
            membership.poll(1, 0.1)
    finally:
        membership.close()


@pytest.mark.parametrize("client", [LibrdkafkaLog, KafkaPythonLog])
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"transaction_timeout_ms": 1_000_000}, "PENSTOCK_KAFKA_TRANSACTION_TIMEOUT_MS is 1000000, more than"),
        ({"session_timeout_ms": 2_000_000}, "PENSTOCK_KAFKA_SESSION_TIMEOUT_MS is 2000000, outside"),
    ],
)
def test_times_that_the_brokers_do_not_accept_are_one_line_that_names_the_setting(
    client: Any, changed: dict[str, int], said: str, kafka: Kafka
) -> None:
    of = options(kafka)
    with closing(opened(of)):
        pass
    with closing(client(replace(of, **changed))) as log:
        with pytest.raises(LogError, match=said) as caught:
            join_and_poll(log, f"{of.pipeline}.g")
        assert not isinstance(caught.value, FencedError | LogUnavailableError)
        assert caught.value.exit_code == 3


def test_kills_inside_commits_double_and_lose_nothing(own_broker: Callable[[], JavaBroker]) -> None:
    broker, rng = own_broker(), random.Random(4)
    of = replace(
        options(Kafka(broker.bootstrap)),
        request_timeout_ms=2_000,
        session_timeout_ms=60_000,
        transaction_timeout_ms=60_000,
    )

    def torment() -> None:
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 1.0))
            broker.kill()
            time.sleep(rng.uniform(0.0, 0.5))
            broker.start()

    with closing(opened(of)) as log, ThreadPoolExecutor(1) as tormentor, ThreadPoolExecutor(1) as committer:
        log.append(messages("one", 1))
        listener = Listener(log, "g", ["one"], "m")
        listener.take(1)
        kills, n, longest_s = tormentor.submit(torment), 0, 0.0
        deadline = time.monotonic() + 240
        while not kills.done() or n < 2 * KILLS:
            assert time.monotonic() < deadline, f"{n} were committed"
            start = time.monotonic()
            commit = committer.submit(listener.membership.commit, messages("out", 1, start=n), {ONE: n + 1})
            while not commit.done():  # its owner polls on
                with suppress(LogUnavailableError):
                    listener.membership.poll(1, 0.01)
            with suppress(LogUnavailableError):
                commit.result()
                n += 1
            longest_s = max(longest_s, time.monotonic() - start)
        kills.result()
        becomes(lambda: values(patiently(lambda: all_of(log, OUT))), [b"%d" % written for written in range(n)])
        assert patiently(lambda: listener.membership.committed(ONE)) == n
        assert longest_s < 30
        listener.membership.close()


def test_appends_to_a_broker_that_is_away_are_capped_and_given_up(own_broker: Callable[[], JavaBroker]) -> None:
    broker = own_broker()
    of = replace(options(Kafka(broker.bootstrap)), delivery_timeout_ms=3_000, ingress_bytes=1_000)
    with closing(opened(of)) as log, ThreadPoolExecutor(1) as thread:
        offsets = log.append(messages("one", 2))
        broker.kill()
        start = time.monotonic()
        first = thread.submit(log.append, messages("one", 8))
        becomes(lambda: log._appender._in_flight > 0, True)
        asked = time.monotonic()
        with pytest.raises(LogUnavailableError, match=r"not acknowledged yet.* try again later"):
            log.append(messages("one", 8))
        assert time.monotonic() - asked < 1
        with pytest.raises(LogUnavailableError):
            first.result(30)
        assert time.monotonic() - start > 2
        broker.start()
        again = patiently(lambda: log.append(messages("one", 1, start=2)))
        assert again == [offsets[-1] + 1], "what was given up is not written later"


def test_a_namesake_ends_the_open_transaction_of_a_dead_process_at_once(kafka: Kafka) -> None:
    of = replace(options(kafka), transaction_timeout_ms=60_000)
    with closing(opened(of)) as log:
        dead = leave_open(kafka, of, f"{of.pipeline}.g.m")
        log.append(messages("out", 1))
        assert all_of(log, OUT) == [], "hidden behind the open transaction"
        start = time.monotonic()
        listener = Listener(log, f"{of.pipeline}.g", ["one"], "m")
        listener.membership.commit(messages("out", 1, start=1), {})
        becomes(lambda: values(all_of(log, OUT)), [b"0", b"1"])
        assert time.monotonic() - start < 5
        listener.membership.close()
        del dead


def test_a_member_that_never_polled_ends_at_any_moment_of_its_joining(kafka: Kafka) -> None:
    of = options(kafka)
    with closing(opened(of)) as log:
        for moment in range(8):  # the group takes about three seconds to let its first member in
            listener = Listener(log, f"{of.pipeline}.g{moment}", ["one"], "m")
            time.sleep(moment / 2.5)
            start = time.monotonic()
            listener.membership.close()
            assert time.monotonic() - start < 4


def test_aborted_transactions_and_their_markers_stop_no_reader(kafka: Kafka) -> None:
    of = options(kafka)
    with closing(opened(of)) as log:
        tail = log.tail(["out"], from_start=True)
        for n in range(3):
            dead = leave_open(kafka, of, "of-another")
            dead.abort_transaction(10)
            log.append(messages("out", 1, start=n))
        dead = leave_open(kafka, of, "of-another")
        dead.abort_transaction(10)
        becomes(lambda: log.bounds(OUT).end, 11)
        assert values(all_of(log, OUT)) == [b"0", b"1", b"2"]
        offsets = [record.offset for record in all_of(log, OUT)]
        for start in range(11):  # one after the other, and ends at every kind of record
            found = log.read(OUT, start, start + 1, 10)
            assert [record.offset for record in found] == [o for o in offsets if o == start]
        assert log.read(OUT, offsets[-1] + 1, 11, 10) == []
        assert values(drain(tail.poll, 3)) == [b"0", b"1", b"2"]
        tail.close()


def test_a_process_that_slept_past_its_session_writes_nothing(kafka: Kafka) -> None:
    of = replace(options(kafka), session_timeout_ms=2_000)
    group = f"{of.pipeline}.g"
    with closing(opened(of)) as log:
        log.append(messages("one", 3))
        command = [sys.executable, "-m", "tests.system.kafka_zombie", kafka.bootstrap, of.pipeline, group, "a"]
        zombie = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert zombie.stdin is not None
        assert zombie.stdout is not None
        try:
            wait_for(zombie, "owns 0")
            os.kill(zombie.pid, signal.SIGSTOP)
            successor = Listener(log, group, ["one"], "b")
            share([successor], 1)
            successor.take(3)
            zombie.stdin.write("go\n")
            zombie.stdin.flush()
            os.kill(zombie.pid, signal.SIGCONT)
            assert wait_for(zombie, "Error") == "FencedError"
            successor.membership.commit(messages("out", 1), {TopicPartition("one", 0): 3})
            becomes(lambda: values(all_of(log, OUT)), [b"0"])
            successor.membership.close()
        finally:
            zombie.kill()
            zombie.wait(10)
            zombie.stdin.close()
            zombie.stdout.close()


def wait_for(process: subprocess.Popen[str], word: str) -> str:
    """The first line with ``word``; lines of logging come in between."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line or line.strip() == "committed":
            return line.strip()
    raise AssertionError(f"it ended without {word}")


def test_who_leaves_is_replaced_in_under_two_seconds(kafka: Kafka) -> None:
    of = options(kafka)
    with closing(opened(of)) as log:
        log.append(messages("one", 2))
        first = Listener(log, f"{of.pipeline}.g", ["one"], "a")
        first.take(2)
        second = Listener(log, f"{of.pipeline}.g", ["one"], "b")
        for _ in range(50):
            first.membership.poll(1, 0.01)
            second.membership.poll(1, 0.01)
        assert (first.owned, second.owned) == ([0], [])
        start = time.monotonic()
        first.membership.close()
        share([second], 1)
        assert time.monotonic() - start < 2
        assert len(second.take(2)) == 2
        second.membership.close()


def test_while_the_broker_is_away_every_call_ends(own_broker: Callable[[], JavaBroker]) -> None:
    broker = own_broker()
    of = replace(options(Kafka(broker.bootstrap)), request_timeout_ms=1_000, transaction_timeout_ms=60_000)
    with closing(opened(of)) as log:
        log.append(messages("one", 1))
        stale = patiently(lambda: Listener(log, "g", ["one"], "m"))
        stale.take(1)
        fresh = patiently(lambda: Listener(log, "g", ["one"], "m"))
        with pytest.raises(FencedError):
            stale.membership.commit(messages("out", 1), {ONE: 1})
        broker.kill()
        start = time.monotonic()
        for call in (
            lambda: log.bounds(ONE),
            lambda: log.read(ONE, 0, 1, 1),
            lambda: fresh.membership.commit(messages("out", 1), {}),
            lambda: log.tail(["one"], from_start=False),
        ):
            with pytest.raises(LogUnavailableError, match="broker up"):
                call()
        fresh.membership.close()
        stale.membership.close()
        assert time.monotonic() - start < 20
