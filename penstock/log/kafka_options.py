"""How to reach a Kafka cluster, and how patient to be with it: one set of values for both adapters."""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.settings import KafkaClient, SaslMechanism, SecurityProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSecurity:
    """How connections are encrypted and authenticated. Files are paths of PEM files; ``password`` is never logged."""

    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions:
    """``bootstrap`` is ``host:port[,host:port…]``. ``client`` auto: librdkafka where it is installed.

    The times are a compromise: a dead owner is replaced after the larger of ``session_timeout_ms`` and
    ``transaction_timeout_ms`` (plus what the broker takes to notice), and a live one must not be taken for dead in a
    pause of the machine. ``delivery_timeout_ms`` is how long an append may wait for its acknowledgement.
    ``ingress_bytes`` caps what is accepted and not yet acknowledged; more is refused with ``LogUnavailableError``.
    """

    bootstrap: str
    pipeline: str
    client: KafkaClient = "auto"
    security: KafkaSecurity = KafkaSecurity()
    session_timeout_ms: int = 10_000
    heartbeat_interval_ms: int = 500
    max_poll_interval_ms: int = 300_000
    transaction_timeout_ms: int = 15_000
    request_timeout_ms: int = 10_000
    delivery_timeout_ms: int = 120_000
    ingress_bytes: int = 33_554_432
    replication_factor: int | None = None


def timeout_refused(options: KafkaOptions, error: str) -> str:
    """What to say where the brokers do not accept one of our times; ``error`` is their name for that."""
    if "SESSION" in error.upper():
        return (
            f"PENSTOCK_KAFKA_SESSION_TIMEOUT_MS is {options.session_timeout_ms}, outside what the brokers allow "
            "(group.min.session.timeout.ms to group.max.session.timeout.ms)"
        )
    return (
        f"PENSTOCK_KAFKA_TRANSACTION_TIMEOUT_MS is {options.transaction_timeout_ms}, more than the brokers allow "
        "(transaction.max.timeout.ms); lower it, or raise theirs"
    )
