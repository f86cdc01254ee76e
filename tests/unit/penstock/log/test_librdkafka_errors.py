from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from penstock.errors import LogError, LogUnavailableError
from penstock.log.kafka_options import KafkaOptions, KafkaSecurity
from penstock.log.librdkafka_errors import FENCED, MOVED_ON, Complaints, error_of, log_error, passes

OPTIONS = KafkaOptions(
    bootstrap="a:1",
    pipeline="p",
    security=KafkaSecurity(username="u", password="secret-word"),  # noqa: S106
)


def told(code: int, complaints: Complaints | None = None) -> LogError:
    return log_error(OPTIONS, "reading", KafkaError(code), complaints or Complaints())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError._TIMED_OUT, "is the broker up?"),
        (KafkaError._ALL_BROKERS_DOWN, "is the broker up?"),
        (KafkaError.NOT_COORDINATOR, "cannot be reached"),
        (KafkaError.UNSTABLE_OFFSET_COMMIT, "a transaction that is still open"),
    ],
)
def test_what_passes_is_unavailable(code: int, said: str) -> None:
    error = told(code)
    assert isinstance(error, LogUnavailableError)
    assert said in str(error)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError.SASL_AUTHENTICATION_FAILED, "refused for user u .* credentials"),
        (KafkaError._SSL, "no TLS connection .* PENSTOCK_KAFKA_SECURITY_PROTOCOL"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, r"not allowed .* rights \(ACLs\)"),
        (KafkaError.INVALID_CONFIG, "reading failed"),
        (KafkaError.INVALID_TRANSACTION_TIMEOUT, "PENSTOCK_KAFKA_TRANSACTION_TIMEOUT_MS is 15000, more than"),
        (KafkaError.INVALID_SESSION_TIMEOUT, "PENSTOCK_KAFKA_SESSION_TIMEOUT_MS is 10000, outside"),
    ],
)
def test_what_does_not_pass_says_what_to_do(code: int, said: str) -> None:
    with pytest.raises(LogError, match=said) as caught:
        raise told(code)
    assert not isinstance(caught.value, LogUnavailableError)
    assert str(caught.value).startswith("kafka at a:1: ")
    assert "\n" not in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_a_time_out_after_a_refusal_is_a_refusal() -> None:
    complaints = Complaints()
    complaints(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert complaints.unreachable
    assert isinstance(told(KafkaError._TIMED_OUT, complaints), LogUnavailableError)
    complaints(KafkaError(KafkaError._AUTHENTICATION))
    error = told(KafkaError._TIMED_OUT, complaints)
    assert not isinstance(error, LogUnavailableError)
    assert "credentials" in str(error)


def test_a_long_text_of_the_client_is_cut() -> None:
    error = log_error(OPTIONS, "reading", KafkaError(KafkaError._FAIL, "long\n" * 200), Complaints())
    assert len(str(error)) < 300
    assert "\n" not in str(error)


def test_fences_and_new_generations_are_told_apart_and_do_not_pass() -> None:
    assert not FENCED & MOVED_ON
    for code in FENCED:
        assert not passes(KafkaError(code))


def test_an_exception_without_an_error_has_one_all_the_same() -> None:
    assert error_of(KafkaException(KafkaError(KafkaError._STATE))).code() == KafkaError._STATE
    assert error_of(KafkaException("odd")).str() == "odd"
