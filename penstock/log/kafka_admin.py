"""An admin client that gives up in bounded time and says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, NodeNotReadyError
from kafka.net.compat import KafkaNetClient

from penstock.errors import LogError, LogUnavailableError
from penstock.log.kafka_config import client_config, quiet_client_logger
from penstock.log.kafka_errors import is_retriable, log_error
from penstock.log.kafka_options import KafkaOptions
from penstock.log.kafka_probe import check_reachable

_T = TypeVar("_T")

#: A new cluster creates its internal topics at the first question about a group, and refuses it meanwhile.
SETTLE_TIMEOUT_S = 8.0
SETTLE_PAUSE_S = 0.1
#: A lost connection is made anew within the longest back-off, or not soon.
RECONNECT_TIMEOUT_S = 1.5


@contextmanager
def admin_client(options: KafkaOptions) -> Iterator[KafkaAdminClient]:
    """An admin client for a few calls. What the client raises inside becomes an error of ours.

    Raises:
        LogUnavailableError: the cluster cannot be reached now (known within about 10 s).
        LogError: it refuses the credentials, the certificate or the call.
    """
    admin = open_client(options, KafkaAdminClient, client_config(options))
    try:
        yield admin
    except KafkaError as error:
        raise log_error(options, "the request", error) from error
    finally:
        admin.close()


def open_client(options: KafkaOptions, client: Callable[..., _T], config: dict[str, Any]) -> _T:
    """A client of kafka-python that has found its cluster.

    Raises:
        LogUnavailableError: the cluster cannot be reached now.
        LogError: it refuses the credentials or the certificate.
    """
    quiet_client_logger()
    check_reachable(options)
    started: list[KafkaNetClient] = []

    def net_client(**settings: Any) -> KafkaNetClient:
        started.append(KafkaNetClient(**settings))
        return started[-1]

    try:
        return client(**config, kafka_client=net_client)
    except KafkaError as error:
        _stop(started)  # a client whose constructor fails leaves its thread running
        raise _why(options, error) from error


def until_settled(call: Callable[[], _T]) -> _T:
    """The result of ``call``, repeated for some seconds while it raises retriable errors of kafka-python."""
    start = time.monotonic()
    while True:
        try:
            return call()
        except KafkaError as error:
            lost = isinstance(error, KafkaConnectionError | NodeNotReadyError)
            limit_s = RECONNECT_TIMEOUT_S if lost else SETTLE_TIMEOUT_S
            if not is_retriable(error) or time.monotonic() - start > limit_s:
                raise
        time.sleep(SETTLE_PAUSE_S)


def _stop(started: list[KafkaNetClient]) -> None:
    for net_client in started:
        net_client.close()
        net_client._manager._net.stop()


def _why(options: KafkaOptions, error: KafkaError) -> LogError:
    if not isinstance(error, KafkaTimeoutError):
        return log_error(options, "connecting", error)
    try:
        check_reachable(options, listen_s=0.5)
    except LogError as found:
        return found
    # The client may lose a broker's refusal of credentials: the connection is closed right after it.
    sasl = options.security.protocol.startswith("SASL")
    login = f", the credentials of user {options.security.username}" if sasl else ""
    return LogUnavailableError(
        f"kafka at {options.bootstrap}: the port is open, but no broker answers; is it starting? "
        f"check PENSTOCK_KAFKA_SECURITY_PROTOCOL{login} too"
    )
