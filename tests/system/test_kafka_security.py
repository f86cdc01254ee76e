"""Kafka behind TLS and passwords: what is right works, what is wrong ends in one clear line, no secret is logged."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs

from penstock.clock import SystemClock
from penstock.errors import LogError
from penstock.log.kafka_options import KafkaClient, KafkaOptions, KafkaSecurity
from penstock.log.open import open_log, topic_configs
from penstock.log.port import Log, Message, TopicConfig, TopicPartition
from tests.broker.absence import need_java
from tests.broker.certificates import Authority
from tests.broker.java import JavaBroker, free_port
from tests.broker.secure import Listeners, listeners
from tests.system.processes import penstock

pytestmark = pytest.mark.system

CLIENTS: tuple[KafkaClient, ...] = ("librdkafka", "kafka-python")
PASSWORD = "canary-9f31c7"  # noqa: S105 - the canary that must appear in no output
PIPELINE = Path(__file__).parents[2] / "pipelines" / "credit.py"
#: What a refusal may take: 12 s when measured, on a machine that does nothing else.
DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Generator[Listeners]:
    """A broker with a password listener and one for certificates; the topics of `credit` are there."""
    need_java()
    folder = tmp_path_factory.mktemp("secure")
    broker = JavaBroker(folder / "broker", secure=listeners(folder / "tls", free_port(), free_port(), PASSWORD))
    broker.start()
    assert broker.secure is not None
    try:
        with_topics = opened(with_password(broker.secure), broker.secure.sasl, "librdkafka", "credit")
        with_topics.ensure_topics(topic_configs(1))
        with_topics.close()
        yield broker.secure
    finally:
        broker.kill()


def with_password(secure: Listeners, password: str = PASSWORD) -> KafkaSecurity:
    return KafkaSecurity(protocol="SASL_SSL", username=secure.username, password=password, ca_file=str(secure.ca_file))


def with_certificate(secure: Listeners) -> KafkaSecurity:
    return KafkaSecurity(
        protocol="SSL",
        ca_file=str(secure.ca_file),
        cert_file=str(secure.client.certificate),
        key_file=str(secure.client.key),
    )


def opened(security: KafkaSecurity, bootstrap: str, client: KafkaClient, pipeline: str) -> Log:
    options = KafkaOptions(bootstrap=bootstrap, pipeline=pipeline, client=client, security=security)
    return open_log(f"kafka://{bootstrap}", Path(), pipeline, SystemClock(), options)


def settings(secure: Listeners, client: str, **changes: str) -> dict[str, str]:
    """The environment of a command that shows the right password to the right listener, with ``changes``."""
    return {
        "PENSTOCK_LOG": f"kafka://{secure.sasl}",
        "PENSTOCK_LOG_LEVEL": "debug",
        "PENSTOCK_KAFKA_CLIENT": client,
        "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "PENSTOCK_KAFKA_USERNAME": secure.username,
        "PENSTOCK_KAFKA_PASSWORD": PASSWORD,
        "PENSTOCK_KAFKA_CA_FILE": str(secure.ca_file),
        **changes,
    }


@pytest.mark.parametrize("how", ["password", "certificate"])
@pytest.mark.parametrize("client", CLIENTS)
def test_who_may_come_in_appends_reads_and_commits(secure: Listeners, client: KafkaClient, how: str) -> None:
    security, bootstrap = (
        (with_password(secure), secure.sasl) if how == "password" else (with_certificate(secure), secure.mutual)
    )
    log = opened(security, bootstrap, client, f"secure-{how}-{client}")
    log.ensure_topics([TopicConfig("requests", 1), TopicConfig("predictions", 1)])
    source, target = TopicPartition("requests", 0), TopicPartition("predictions", 0)
    log.append([Message("requests", b"k", b"asked")])
    member = log.join("secure.scorer", ["requests"], f"scorer-{client}-{how}", lambda _: None, lambda _: None)
    try:
        deadline = time.monotonic() + 30
        while not (records := member.poll(10, 0.2)):
            assert time.monotonic() < deadline, "nothing to read"
        assert [record.value for record in records] == [b"asked"]
        member.commit([Message("predictions", b"k", b"answered")], {source: 1})
        while not (answers := log.read(target, 0, 10, 10)):
            assert time.monotonic() < deadline, "nothing was committed"
        assert [record.value for record in answers] == [b"answered"]
    finally:
        member.close()
        log.close()


#: Settings that must be refused → (what is changed, what the line must name).
WRONG = {
    "password": ({"PENSTOCK_KAFKA_PASSWORD": f"{PASSWORD}-not"}, "credentials"),
    "user": ({"PENSTOCK_KAFKA_USERNAME": "nobody"}, "nobody"),
    "mechanism": ({"PENSTOCK_KAFKA_SASL_MECHANISM": "PLAIN"}, "credentials"),
    "no TLS": ({"PENSTOCK_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, "PENSTOCK_KAFKA_SECURITY_PROTOCOL"),
    "no login": ({"PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SSL"}, "PENSTOCK_KAFKA_SECURITY_PROTOCOL"),
    "no authority": ({"PENSTOCK_KAFKA_CA_FILE": ""}, "PENSTOCK_KAFKA_CA_FILE"),
    "another authority": ({"PENSTOCK_KAFKA_CA_FILE": "{other}"}, "PENSTOCK_KAFKA_CA_FILE"),
    "another host name": ({"PENSTOCK_LOG": "kafka://127.0.0.1:{sasl_port}"}, "host name"),
    "no certificate": (
        {"PENSTOCK_LOG": "kafka://localhost:{mutual_port}", "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SSL"},
        "certificate",
    ),
}


class Outcome(NamedTuple):
    done: subprocess.CompletedProcess[str]
    took_s: float


@pytest.fixture(scope="module")
def refusals(secure: Listeners, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What a command says to each wrong setting. They wait most of the time: five at once."""
    folder = tmp_path_factory.mktemp("refusals")
    known = {
        "other": str(Authority(folder / "other", "other").ca_file),
        "sasl_port": str(secure.sasl_port),
        "mutual_port": str(secure.mutual_port),
    }

    def run(what: str) -> Outcome:
        changes = {name: value.format(**known) for name, value in WRONG[what][0].items()}
        begun = time.monotonic()
        done = command(folder, settings(secure, "auto", **changes))
        return Outcome(done, time.monotonic() - begun)

    with ThreadPoolExecutor(5) as pool:
        return dict(zip(WRONG, pool.map(run, WRONG), strict=True))


def command(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return penstock("--pipeline", str(PIPELINE), "events", "tail", "decisions", cwd=folder, **environment)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_command_with_the_right_password_works_and_does_not_log_it(
    secure: Listeners, client: str, tmp_path: Path
) -> None:
    done = command(tmp_path, settings(secure, client))
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_line_and_exit_3(refusals: dict[str, Outcome], what: str) -> None:
    done, took_s = refusals[what]
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("penstock: ")]
    assert lines == done.stderr.splitlines()[-1:]
    assert WRONG[what][1] in lines[0]
    assert PASSWORD not in done.stdout + done.stderr
    assert took_s < DEADLINE_S


def test_a_password_without_tls_is_refused_before_it_is_sent(secure: Listeners, tmp_path: Path) -> None:
    environment = settings(secure, "auto", PENSTOCK_KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT")
    done = command(tmp_path, environment)
    assert done.returncode == 2
    assert "PENSTOCK_KAFKA_ALLOW_PLAINTEXT_SASL" in done.stderr
    assert PASSWORD not in done.stderr


OPERATIONS: dict[str, Callable[[Log], object]] = {
    "partitions": lambda log: log.partitions("decisions"),
    "bounds": lambda log: log.bounds(TopicPartition("decisions", 0)),
    "append": lambda log: log.append([Message("decisions", b"k", b"v")]),
    "committed": lambda log: log.committed("credit.scorer", TopicPartition("requests", 0)),
    "tail": lambda log: log.tail(["decisions"], from_start=True),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_operation_says_so_when_the_password_is_wrong(
    secure: Listeners, client: KafkaClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    def refusal(name: str) -> tuple[str, float]:
        log = opened(with_password(secure, f"{PASSWORD}-not"), secure.sasl, client, "credit")
        begun = time.monotonic()
        try:
            with pytest.raises(LogError) as caught:
                OPERATIONS[name](log)
        finally:
            log.close()
        return str(caught.value), time.monotonic() - begun

    with capture_logs() as logged, ThreadPoolExecutor(len(OPERATIONS)) as pool:
        for said, took_s in pool.map(refusal, OPERATIONS):
            assert "credentials" in said
            assert secure.username in said
            assert took_s < DEADLINE_S
            assert PASSWORD not in said
    assert PASSWORD not in str(logged) + caplog.text
