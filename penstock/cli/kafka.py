"""From settings to what the Kafka adapters want to know."""

from __future__ import annotations

from penstock.errors import UsageError
from penstock.log.kafka_options import KafkaOptions, KafkaSecurity
from penstock.log.open import bootstrap_of
from penstock.settings import Settings


def kafka_options(settings: Settings, pipeline: str) -> KafkaOptions | None:
    """How to reach the cluster of ``settings.log`` for ``pipeline``; None where the log is not Kafka.

    Raises:
        UsageError: the URL or the settings contradict themselves.
    """
    bootstrap = bootstrap_of(settings.log)
    if bootstrap is None:
        return None
    return KafkaOptions(
        bootstrap=bootstrap,
        pipeline=pipeline,
        client=settings.kafka_client,
        security=_security(settings),
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_interval_ms=min(500, settings.kafka_session_timeout_ms // 3),
        transaction_timeout_ms=settings.kafka_transaction_timeout_ms,
        ingress_bytes=settings.kafka_ingress_bytes,
        replication_factor=settings.kafka_replication_factor,
    )


def _security(settings: Settings) -> KafkaSecurity:
    protocol, password = settings.kafka_security_protocol, settings.kafka_password
    if protocol.startswith("SASL") and (settings.kafka_username is None or password is None):
        raise UsageError(
            f"PENSTOCK_KAFKA_SECURITY_PROTOCOL is {protocol}: set PENSTOCK_KAFKA_USERNAME and _PASSWORD too"
        )
    if protocol == "SASL_PLAINTEXT" and not settings.kafka_allow_plaintext_sasl:
        raise UsageError(
            "PENSTOCK_KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT, which sends credentials without TLS: use SASL_SSL, "
            "or allow it with PENSTOCK_KAFKA_ALLOW_PLAINTEXT_SASL=true"
        )
    files = {
        "PENSTOCK_KAFKA_CA_FILE": settings.kafka_ca_file,
        "PENSTOCK_KAFKA_CERT_FILE": settings.kafka_cert_file,
        "PENSTOCK_KAFKA_KEY_FILE": settings.kafka_key_file,
    }
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise UsageError(f"{name}: {path}: no such file")
    return KafkaSecurity(
        protocol=protocol,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=password.get_secret_value() if password is not None else None,
        ca_file=str(settings.kafka_ca_file) if settings.kafka_ca_file else None,
        cert_file=str(settings.kafka_cert_file) if settings.kafka_cert_file else None,
        key_file=str(settings.kafka_key_file) if settings.kafka_key_file else None,
    )
