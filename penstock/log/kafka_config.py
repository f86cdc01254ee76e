"""How every client of kafka-python is configured, and how quiet its logger is."""

from __future__ import annotations

import logging
import ssl
from typing import Any

from penstock.errors import LogError
from penstock.log.kafka_options import KafkaOptions, KafkaSecurity

#: A broker that returns is found within about this time; the client's own default is 30 s.
RECONNECT_BACKOFF_MAX_MS = 1000

#: How long a new client looks for a broker that answers.
BOOTSTRAP_TIMEOUT_MS = 6000


def quiet_client_logger() -> None:
    """Pin the client's logger at WARNING: below it, it writes keys and values of records.

    The null handler keeps its warnings off standard error where nobody configured logging: what matters about them
    is raised as a typed error.
    """
    logger = logging.getLogger("kafka")
    logger.setLevel(max(logger.level, logging.WARNING))
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def client_config(options: KafkaOptions) -> dict[str, Any]:
    """What admin client, consumers and producers have in common.

    Raises:
        LogError: a certificate or key file cannot be used.
    """
    config: dict[str, Any] = {
        "bootstrap_servers": options.bootstrap.split(","),
        "client_id": f"penstock-{options.pipeline}",
        "request_timeout_ms": options.request_timeout_ms,
        "reconnect_backoff_ms": 50,
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MAX_MS,
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        "security_protocol": options.security.protocol,
    }
    if options.security.protocol.endswith("SSL"):
        config["ssl_context"] = tls_context(options.security)
    if options.security.protocol.startswith("SASL"):
        config["sasl_mechanism"] = options.security.mechanism
        config["sasl_plain_username"] = options.security.username
        config["sasl_plain_password"] = options.security.password
    return config


def tls_context(security: KafkaSecurity) -> ssl.SSLContext:
    """Certificates and host names are checked, always. Raises ``LogError`` where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        if security.cert_file is not None:
            context.load_cert_chain(security.cert_file, security.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(file for file in (security.ca_file, security.cert_file, security.key_file) if file)
        raise LogError(f"kafka: cannot use the certificate files {files} ({error}); they must be PEM") from error
    return context
