"""How every client of librdkafka is configured, and where its own log lines go: to ours, at debug."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaError

from penstock.log.kafka_options import KafkaOptions

_log = structlog.get_logger()

OnError = Callable[[KafkaError], None]

#: A fetch without records is answered after this time; partitions that were added meanwhile wait for that.
FETCH_WAIT_MS = 100
#: The coordinator still completes the transaction before when the next one begins: asked again after this time.
RETRY_BACKOFF_MS = 5
#: What one consumer holds of records that nobody asked for yet.
MEMBER_QUEUE_KB, READER_QUEUE_KB = 32_768, 8_192


class _Lines:
    """What confluent-kafka takes for a logger."""

    def log(self, level: int, text: str, *parts: object) -> None:
        _log.debug("librdkafka", level=level, text=text % parts if parts else text)


def client_config(options: KafkaOptions, on_error: OnError) -> dict[str, Any]:
    """What admin client, consumers and producers have in common."""
    security = options.security
    config: dict[str, Any] = {
        "bootstrap.servers": options.bootstrap,
        "client.id": f"penstock-{options.pipeline}",
        "security.protocol": security.protocol,
        "socket.connection.setup.timeout.ms": max(1_000, min(10_000, options.request_timeout_ms)),
        "socket.timeout.ms": options.request_timeout_ms,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        "log.connection.close": False,
        "error_cb": on_error,
        "logger": _Lines(),
    }
    files = {
        "ssl.ca.location": security.ca_file,
        "ssl.certificate.location": security.cert_file,
        "ssl.key.location": security.key_file,
    }
    if security.protocol.endswith("SSL"):
        config |= {name: file for name, file in files.items() if file is not None}
    if security.protocol.startswith("SASL"):
        config |= {
            "sasl.mechanism": security.mechanism,
            "sasl.username": security.username or "",
            "sasl.password": security.password or "",
        }
    return config


def reader_config(options: KafkaOptions, on_error: OnError, *, reset: str) -> dict[str, Any]:
    """A consumer that is told what to read. ``reset``: what it does with an offset that is not there."""
    return client_config(options, on_error) | {
        "group.id": f"{options.pipeline}.no-group",  # the client wants a name; nothing is committed under it
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": reset,
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        "fetch.queue.backoff.ms": 20,
        "queued.max.messages.kbytes": READER_QUEUE_KB,
    }


def member_config(options: KafkaOptions, on_error: OnError, group: str, member: str) -> dict[str, Any]:
    """A static member of a group that hands partitions over one by one."""
    return reader_config(options, on_error, reset="error") | {
        "group.id": group,
        "group.instance.id": member,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": options.session_timeout_ms,
        "heartbeat.interval.ms": options.heartbeat_interval_ms,
        "max.poll.interval.ms": max(options.max_poll_interval_ms, options.session_timeout_ms),
        "enable.partition.eof": False,
        "queued.max.messages.kbytes": MEMBER_QUEUE_KB,
    }


def transactional_config(
    options: KafkaOptions, on_error: OnError, transactional_id: str, on_delivery: Callable[[Any, Any], None]
) -> dict[str, Any]:
    """A producer of transactions; ``on_delivery`` hears of failures only."""
    return client_config(options, on_error) | {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": options.transaction_timeout_ms,
        "socket.timeout.ms": min(options.request_timeout_ms, options.transaction_timeout_ms),
        "retry.backoff.ms": RETRY_BACKOFF_MS,
        "linger.ms": 1,
        "delivery.report.only.error": True,
        "on_delivery": on_delivery,
        "queue.buffering.max.messages": 0,
    }


def append_config(options: KafkaOptions, on_error: OnError) -> dict[str, Any]:
    """An idempotent producer: nothing is doubled or reordered, whatever happens to the broker."""
    return client_config(options, on_error) | {
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 1,
        "delivery.timeout.ms": options.delivery_timeout_ms,
        "queue.buffering.max.messages": 0,
        "queue.buffering.max.kbytes": max(2 * options.ingress_bytes // 1024, 1_048_576),
    }
