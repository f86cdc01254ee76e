"""From the errors of librdkafka to ours."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from penstock.errors import LogError, LogUnavailableError
from penstock.log.kafka_options import KafkaOptions, timeout_refused

#: No retry helps: wrong credentials, a certificate that does not fit.
_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    }
)
_FORBIDDEN = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
#: A time that the brokers do not accept.
_TIMES = frozenset({KafkaError.INVALID_TRANSACTION_TIMEOUT, KafkaError.INVALID_SESSION_TIMEOUT})
#: Another process has this transactional id or this name in the group.
FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.UNKNOWN_MEMBER_ID,
    }
)
#: The group has moved on; a member that still belongs to it may try again with what it knows now.
MOVED_ON = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS})
#: What the client remembers of the cluster is outdated; its admin client does not ask again by itself.
OUTDATED = frozenset({KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError._NOENT})
#: Errors that pass, though librdkafka does not call all of them retriable.
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._IN_PROGRESS,
        KafkaError._DESTROY_BROKER,
        KafkaError._RETRY,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)


def refused(error: KafkaError) -> bool:
    """Whether the cluster will not do it for us, now or later: it does not know us, or not like what we ask for."""
    return error.code() in _REFUSED or error.code() in _FORBIDDEN or error.code() in _TIMES


class Complaints:
    """What the client's background threads complained of: calls that time out do not say why."""

    def __init__(self) -> None:
        self.refusal: KafkaError | None = None
        self.unreachable = False

    def __call__(self, error: KafkaError) -> None:
        """librdkafka's error callback."""
        if error.code() in _REFUSED:
            self.refusal = error
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.unreachable = True


def error_of(exception: KafkaException) -> KafkaError:
    """The error that ``exception`` carries."""
    error = exception.args[0]
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError._FAIL, str(error))


def passes(error: KafkaError) -> bool:
    """Whether the same call may succeed later."""
    return bool(error.retriable()) or error.code() in _PASSING or error.code() in OUTDATED


def log_error(options: KafkaOptions, what: str, error: KafkaError, complaints: Complaints) -> LogError:
    """``error``, met while doing ``what``, as one line of ours that names the cluster."""
    where = f"kafka at {options.bootstrap}"
    refusal = error if error.code() in _REFUSED else complaints.refusal
    if refusal is not None:
        if refusal.code() == KafkaError._SSL:
            return LogError(
                f"{where}: no TLS connection ({_line(refusal)}); check PENSTOCK_KAFKA_SECURITY_PROTOCOL, "
                "the certificate files and the host name"
            )
        user = f" for user {options.security.username}" if options.security.username else ""
        return LogError(f"{where}: {what} was refused{user} ({refusal.name()}); check the credentials")
    if error.code() in _FORBIDDEN:
        return LogError(f"{where}: {what} is not allowed ({error.name()}); check the rights (ACLs)")
    if error.code() in _TIMES:
        return LogError(f"{where}: {what} was refused: {timeout_refused(options, error.name())}")
    if error.code() == KafkaError.UNSTABLE_OFFSET_COMMIT:
        return LogUnavailableError(f"{where}: {what}: waits for a transaction that is still open")
    if passes(error):
        return LogUnavailableError(f"{where}: cannot be reached for {what} ({_line(error)}); is the broker up?")
    return LogError(f"{where}: {what} failed ({_line(error)})")


def _line(error: KafkaError) -> str:
    """One short line."""
    text = " ".join(f"{error.name().lstrip('_')}: {error.str()}".split())
    return text if len(text) <= 200 else text[:200] + "…"
