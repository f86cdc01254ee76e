"""From the errors of kafka-python to ours."""

from __future__ import annotations

from kafka import errors as kafka_errors

from penstock.errors import LogError, LogUnavailableError
from penstock.log.kafka_options import KafkaOptions, timeout_refused

#: Answers to wrong credentials and missing rights: no retry helps.
_REFUSED = (
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
)
#: Times that the brokers do not accept.
_TIMES = ("InvalidTransactionTimeout", "InvalidSessionTimeout")


def log_error(options: KafkaOptions, what: str, error: Exception) -> LogError:
    """``error`` of the client, met while doing ``what``, as one line of ours that names the cluster."""
    where = f"kafka at {options.bootstrap}"
    name = type(error).__name__.removesuffix("Error")
    if isinstance(error, _REFUSED):
        user = f" for user {options.security.username}" if options.security.username else ""
        return LogError(f"{where}: {what} was refused{user} ({name}); check the credentials and the rights (ACLs)")
    for refused in _TIMES:  # the client wraps answers that it does not expect in the root of its errors
        if refused in f"{name} {error}":
            return LogError(f"{where}: {what} was refused: {timeout_refused(options, refused)}")
    if is_retriable(error):
        return LogUnavailableError(f"{where}: {what} failed ({name}); is the broker up?")
    return LogError(f"{where}: {what} failed ({_text(error)})")


def is_retriable(error: BaseException | None) -> bool:
    """Whether the same call may succeed later; also what a client says that another thread has given up."""
    return bool(getattr(error, "retriable", False)) or isinstance(
        error,
        OSError
        | kafka_errors.UnknownBrokerIdError
        | kafka_errors.BrokerNotAvailableError
        | kafka_errors.IllegalStateError,
    )


def _text(error: Exception) -> str:
    """One short line; errors of the client may hold whole requests."""
    line = " ".join(f"{type(error).__name__}: {error}".split()).removeprefix(f"{type(error).__name__}: ")
    return line if len(line) <= 200 else line[:200] + "…"
