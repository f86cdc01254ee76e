from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from penstock.cli.kafka import kafka_options
from penstock.errors import UsageError
from penstock.settings import Settings


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None).model_copy(update={"log": "kafka://a:9092,b:9093", **values})


def test_another_log_needs_none() -> None:
    assert kafka_options(settings(log="embedded"), "p") is None


def test_values_arrive() -> None:
    options = kafka_options(
        settings(
            kafka_security_protocol="SASL_SSL",
            kafka_username="u",
            kafka_password=SecretStr("secret-word"),
            kafka_session_timeout_ms=6000,
        ),
        "p",
    )
    assert options is not None
    assert (options.bootstrap, options.pipeline, options.session_timeout_ms) == ("a:9092,b:9093", "p", 6000)
    assert options.security.password == "secret-word"  # noqa: S105
    assert "secret-word" not in repr(options)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"log": "kafka://"}, "kafka://host:port"),
        ({"log": "kafka://host"}, "kafka://host:port"),
        ({"log": "kafka://host:0"}, "kafka://host:port"),
        ({"log": "kafka://h:1/path"}, "kafka://host:port"),
        ({"kafka_security_protocol": "SASL_SSL"}, "PENSTOCK_KAFKA_USERNAME"),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_username": "u", "kafka_password": SecretStr("p")},
            "PENSTOCK_KAFKA_ALLOW_PLAINTEXT_SASL",
        ),
        ({"kafka_ca_file": Path("nowhere.pem")}, "nowhere.pem: no such file"),
    ],
)
def test_contradictions_are_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        kafka_options(settings(**values), "p")
    assert "\n" not in str(caught.value)
