"""Asks by the plainest means why a cluster cannot be used: kafka-python itself only tries again, for ever."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from penstock.errors import LogError, LogUnavailableError
from penstock.log.kafka_config import tls_context
from penstock.log.kafka_options import KafkaOptions

#: How long one address may take to accept a connection.
CONNECT_TIMEOUT_S = 3.0


def check_reachable(options: KafkaOptions, listen_s: float = 0.0) -> None:
    """Returns where one bootstrap address accepts a connection (and TLS, where it is asked for).

    ``listen_s``: how long to wait for a complaint after that; brokers refuse a client's certificate that late.

    Raises:
        LogUnavailableError: no address accepts a connection.
        LogError: a certificate is not accepted, or the other side does not speak TLS.
    """
    problems = []
    for host, port in addresses(options.bootstrap):
        try:
            with socket.create_connection((host, port), CONNECT_TIMEOUT_S) as plain:
                if options.security.protocol.endswith("SSL"):
                    _check_tls(plain, options, host, port, listen_s)
                return
        except OSError as error:
            problems.append(f"{host}:{port}: {error.strerror or error}")
    raise LogUnavailableError(f"kafka cannot be reached ({'; '.join(problems)}); is the broker up?")


def addresses(bootstrap: str) -> Iterator[tuple[str, int]]:
    """The hosts and ports of ``host:port[,host:port…]``."""
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        yield host.strip("[]"), int(port)


def _check_tls(plain: socket.socket, options: KafkaOptions, host: str, port: int, listen_s: float) -> None:
    where = f"kafka at {host}:{port}"
    try:
        with tls_context(options.security).wrap_socket(plain, server_hostname=host) as secure:
            if listen_s > 0:
                secure.settimeout(listen_s)
                secure.recv(1)
    except TimeoutError:
        return
    except ssl.SSLCertVerificationError as error:
        raise LogError(
            f"{where}: its certificate is not accepted ({error.verify_message}); check PENSTOCK_KAFKA_CA_FILE "
            "and the host name"
        ) from error
    except ssl.SSLError as error:
        raise LogError(
            f"{where}: no TLS connection ({error.reason}); check PENSTOCK_KAFKA_SECURITY_PROTOCOL "
            "and the client's certificate"
        ) from error
