"""What is known to go wrong with kafka-python 3.0.12, and does not with the log that is built on it."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from kafka.structs import ConsumerGroupMetadata

from penstock.errors import FencedError, LogError, LogUnavailableError
from penstock.log.kafka import KafkaPythonLog
from penstock.log.kafka_options import KafkaOptions
from penstock.log.kafka_producer import StaleGenerationError, TransactionalProducer
from penstock.log.kafka_watchdog import Watchdog
from penstock.log.port import Message, TopicConfig, TopicPartition
from penstock.testing.log_subject import IN, ONE, OUT, TOPICS, Listener, all_of, drain, messages, values
from tests.broker.java import JavaBroker
from tests.broker.shared import Kafka

pytestmark = pytest.mark.system

MakeBroker = Callable[[], JavaBroker]


def options_for(bootstrap: str) -> KafkaOptions:
    return KafkaOptions(
        bootstrap=bootstrap,
        pipeline=f"p{uuid.uuid4().hex[:8]}",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=300,
        transaction_timeout_ms=6_000,
        request_timeout_ms=5_000,
        delivery_timeout_ms=5_000,
    )


@contextmanager
def a_log(options: KafkaOptions) -> Iterator[KafkaPythonLog]:
    with closing(KafkaPythonLog(options)) as log:
        log.ensure_topics(TOPICS)
        yield log


@pytest.fixture
def log(kafka: Kafka) -> Iterator[KafkaPythonLog]:
    with a_log(options_for(kafka.bootstrap)) as opened:
        yield opened


def group_of(log: KafkaPythonLog) -> str:
    return f"{log._options.pipeline}.g"


def eventually(condition: Callable[[], bool], timeout_s: float) -> float:
    """Seconds until ``condition`` held."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s, "it did not come"
        time.sleep(0.02)
    return time.monotonic() - start


def test_offsets_of_a_stale_generation_are_refused(log: KafkaPythonLog) -> None:
    """A bare group name would fence nobody."""
    log.append(messages("in", 3))
    owner = Listener(log, group_of(log), ["in"], "m")
    owner.take(3)
    now = owner.membership._seat.consumer.group_metadata()
    dog = Watchdog()
    producer = TransactionalProducer(log._options, "another", dog)
    where, sends = log._cluster.physical(IN), [(log._cluster.physical(OUT), Message("out", None, b"x"))]
    stale = now._replace(generation_id=now.generation_id - 1)
    stranger = ConsumerGroupMetadata(now.group_id, now.generation_id, "nobody", None)
    for claim in (stale, stranger):
        with pytest.raises(StaleGenerationError):
            producer.commit(sends, {where: 1}, claim)
    assert log.committed(group_of(log), IN) is None
    assert all_of(log, OUT) == []
    producer.commit(sends, {where: 1}, now)
    assert log.committed(group_of(log), IN) == 1
    producer.close()
    dog.close()
    owner.membership.close()


def test_a_record_that_is_too_large_is_no_partial_transaction(log: KafkaPythonLog) -> None:
    """The client refuses such a record, and would commit the rest."""
    log.append(messages("in", 2))
    owner = Listener(log, group_of(log), ["in"], "m")
    owner.take(2)
    batch = [*messages("out", 3), Message("out", None, bytes(2_000_000))]
    with pytest.raises(LogError, match="message"):
        owner.membership.commit(batch, {IN: 2})
    assert all_of(log, OUT) == []
    assert log.committed(group_of(log), IN) is None
    with pytest.raises(LogError, match="nothing was written"):
        log.append([*messages("one", 1), Message("one", None, bytes(2_000_000), 0)])
    assert all_of(log, ONE) == []
    owner.membership.commit(messages("out", 1), {IN: 2})
    assert len(all_of(log, OUT)) == 1
    owner.membership.close()


def test_an_abort_skips_and_repeats_nothing(log: KafkaPythonLog) -> None:
    log.append(messages("in", 10))
    owner = Listener(log, group_of(log), ["in"], "m")
    first = drain(lambda _, wait_s: owner.membership.poll(1, wait_s), 1)
    with pytest.raises(LogError):
        owner.membership.commit([Message("out", None, bytes(2_000_000))], {IN: 1})
    rest = owner.take(9)
    assert values(first + rest) == [b"%d" % n for n in range(10)]
    owner.membership.commit([], {IN: 10})
    assert log.committed(group_of(log), IN) == 10
    owner.membership.close()


def test_a_displaced_namesake_notices_without_committing(log: KafkaPythonLog) -> None:
    first = Listener(log, group_of(log), ["in"], "m")
    eventually(lambda: first.membership.poll(1, 0.0) == [] and first.owned == [0, 1], 10)
    second = Listener(log, group_of(log), ["in"], "m")

    def displaced() -> bool:
        try:
            first.membership.poll(1, 0.05)
        except FencedError:
            return True
        return False

    eventually(displaced, 10)
    first.membership.close()
    log.append(messages("in", 2))
    assert len(second.take(2)) == 2, "the close of the first has not taken the place of the second away"
    second.membership.close()


def test_members_of_one_thread_do_not_keep_each_other_from_joining(log: KafkaPythonLog) -> None:
    """A join that completes between two polls of the client is forgotten by it."""
    members = [Listener(log, f"{group_of(log)}{n}", ["in"], "m") for n in range(4)]
    pairs = [Listener(log, group_of(log), ["in"], name) for name in "ab"]

    def settled() -> bool:
        for member in members + pairs:
            member.membership.poll(1, 0.0)
        return all(member.owned == [0, 1] for member in members) and sorted(p.owned for p in pairs) == [[0], [1]]

    eventually(settled, 20)
    for member in members + pairs:
        start = time.monotonic()
        member.membership.close()
        assert time.monotonic() - start < 3


def test_the_client_never_logs_records(log: KafkaPythonLog, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        log.append([Message("one", b"key-of-canary", b"value-of-canary", 0)])
        assert len(all_of(log, ONE)) == 1
    assert "canary" not in caplog.text
    assert not logging.getLogger("kafka.producer").isEnabledFor(logging.DEBUG)


def test_a_dead_broker_neither_fills_memory_nor_spoils_the_producer(own_broker: MakeBroker) -> None:
    """The client would accept without limit, and an outage beyond the delivery timeout would wedge it for good."""
    broker = own_broker()
    options = replace(options_for(broker.bootstrap), ingress_bytes=1_048_576, delivery_timeout_ms=5_000)
    with a_log(options) as log:
        log.append(messages("one", 1))
        tail = log.tail(["one"], from_start=True)
        assert len(drain(tail.poll, 1)) == 1
        broker.kill()
        failed: list[LogError] = []

        def write() -> None:
            try:
                log.append([Message("one", None, bytes(100_000), 0)])
            except LogError as error:
                failed.append(error)

        writers = [threading.Thread(target=write) for _ in range(30)]
        for writer in writers:
            writer.start()
        eventually(lambda: len(failed) >= 20, 3)
        assert all("are the limit" in str(error) for error in failed)
        assert log._appender._held_bytes <= options.ingress_bytes
        for writer in writers:
            writer.join(20)
        assert len(failed) == 30
        assert all(isinstance(error, LogUnavailableError) for error in failed)
        assert log._appender._held_bytes == 0

        broker.start()
        start = time.monotonic()
        log.append([Message("one", None, b"back", 0)])
        seen: list[bytes] = []
        eventually(lambda: seen.extend(values(tail.poll(100, 0.05))) or b"back" in seen, 10)
        assert time.monotonic() - start < 4
        tail.close()


CHILD = """
    import sys
    import structlog
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    from penstock.log import kafka_membership
    from penstock.log.kafka import KafkaPythonLog
    from penstock.log.kafka_options import KafkaOptions
    from penstock.log.kafka_watchdog import Watchdog
    from penstock.log.port import Message, TopicPartition
    from kafka import KafkaProducer

    bootstrap, pipeline, stop_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
    kafka_membership.Watchdog = lambda: Watchdog(3.0)
    commit, commits = KafkaProducer.commit_transaction, 0

    def committing(producer):
        global commits
        commits += 1
        if commits == stop_at:
            print("committing", flush=True)
            sys.stdin.readline()
        commit(producer)

    KafkaProducer.commit_transaction = committing
    log = KafkaPythonLog(KafkaOptions(bootstrap=bootstrap, pipeline=pipeline, session_timeout_ms=6000))
    member = log.join(pipeline + ".g", ["one"], "m", lambda _: None, lambda _: None)
    done = log.committed(pipeline + ".g", TopicPartition("one", 0)) or 0
    while done < 30:
        records = member.poll(10, 1.0)
        if records:
            done = records[-1].offset + 1
            outputs = [Message("out", r.key, r.value, 0) for r in records]
            member.commit(outputs, {TopicPartition("one", 0): done})
    member.close()
    log.close()
"""


def test_a_broker_that_dies_at_the_commit_ends_the_process_and_loses_nothing(
    own_broker: MakeBroker, tmp_path: Path
) -> None:
    """The client's commit hangs, in most cases also after the broker's return."""
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(CHILD))
    broker = own_broker()
    options = options_for(broker.bootstrap)
    with a_log(options) as log:
        log.append(messages("one", 30))
    command = [sys.executable, str(script), broker.bootstrap, options.pipeline]
    child = subprocess.Popen(
        [*command, "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "committing\n"
        broker.kill()
        start = time.monotonic()
        _, errors = child.communicate("\n", timeout=30)
    finally:
        child.kill()
    assert child.returncode == 3, errors
    assert time.monotonic() - start < 15
    assert "this process ends" in errors
    broker.start()
    again = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 0, again.stderr
    with a_log(options) as log:
        assert values(all_of(log, OUT)) == [b"%d" % n for n in range(30)]
        assert log.committed(f"{options.pipeline}.g", TopicPartition("one", 0)) == 30


def test_topics_of_different_widths_are_refused(log: KafkaPythonLog) -> None:
    log.ensure_topics([TopicConfig("wide", 5)])
    with pytest.raises(LogError, match="equal partition counts"):
        log.join(group_of(log), ["in", "wide"], "m", lambda _: None, lambda _: None)
