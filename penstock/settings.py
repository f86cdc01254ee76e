"""Settings of the installation: ``PENSTOCK_*`` in the environment or ``.env``. Only the command line reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.errors import UsageError

KafkaClient: TypeAlias = Literal["auto", "librdkafka", "kafka-python"]
SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Settings(BaseSettings):
    """Read once, frozen, secrets masked. Command-line options win over these."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    data_dir: Path = Field(Path(".penstock"), description="Log, checkpoints, artifacts and registry of this machine.")
    log: str = Field(
        "embedded",
        description="Where the log is: `embedded` (a file in the data directory) or `kafka://host:port[,…]`.",
    )
    store_url: str | None = Field(
        None,
        description="Where checkpoints and models are kept, as an fsspec URL that every machine can reach "
        "(`s3://bucket/prefix`, `file:///mnt/shared`); default: the data directory.",
    )
    instance: str | None = Field(
        None,
        pattern="^[A-Za-z0-9._-]+$",
        description="Name of this process among those of its roles, kept over restarts; default: found by itself.",
    )
    kafka_client: KafkaClient = Field(
        "auto",
        description="Client library for Kafka: `librdkafka`, `kafka-python`, or `auto` (librdkafka if installed).",
    )
    kafka_security_protocol: SecurityProtocol = Field(
        "PLAINTEXT", description="How brokers are reached: `PLAINTEXT`, `SSL`, `SASL_SSL` or `SASL_PLAINTEXT`."
    )
    kafka_sasl_mechanism: SaslMechanism = Field(
        "SCRAM-SHA-512", description="How to log in: `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`."
    )
    kafka_username: str | None = Field(None, description="User name for SASL.")
    kafka_password: SecretStr | None = Field(None, description="Password for SASL.")
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed the brokers' certificates."
    )
    kafka_cert_file: Path | None = Field(None, description="PEM file of this client's certificate (mutual TLS).")
    kafka_key_file: Path | None = Field(None, description="PEM file of this client's private key (mutual TLS).")
    kafka_allow_plaintext_sasl: bool = Field(
        False, description="Send SASL credentials over connections without TLS; for tests on one machine."
    )
    kafka_replication_factor: int | None = Field(
        None, ge=1, description="Copies of each partition of topics that are created; default: the broker's."
    )
    kafka_session_timeout_ms: int = Field(
        10_000, ge=1000, le=1_800_000, description="A process that is not heard of for so long loses its partitions."
    )
    kafka_transaction_timeout_ms: int = Field(
        15_000, ge=1000, le=900_000, description="A transaction that is open for so long is aborted by the broker."
    )
    kafka_ingress_bytes: int = Field(
        33_554_432,
        ge=1_048_576,
        description="Most bytes accepted and not yet acknowledged by Kafka; more is refused (503).",
    )
    fit_backend: str = Field(
        "local", description="Where candidates are fitted: `local`, or a Dask scheduler (`dask://host:port`)."
    )
    datasets_dir: Path | None = Field(None, description="Where known public data sets are read from and fetched to.")
    host: str = Field("127.0.0.1", description="Address that serving, and the probes of other roles, listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that serving listens on (0: any free one).")
    probe_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port on which `penstock run` of stream roles answers `/health/live`, `/health/ready` and "
        "`/metrics`; default: on none.",
    )
    signing_key: SecretStr | None = Field(
        None, min_length=16, description="Key (≥ 16 characters) that artifacts and checkpoints are signed with."
    )
    mlflow_tracking_uri: str | None = Field(None, description="MLflow server; default: SQLite in the data directory.")
    snapshot_share: float = Field(
        0.02, gt=0, le=1, description="Share of the learner's time that publishing online snapshots may take."
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body that serving reads.")
    max_batch_rows: int = Field(1000, ge=1, description="Most rows in one batch request.")
    notify_urls: SecretStr | None = Field(
        None,
        description="Apprise URLs, comma-separated, that warnings and critical alerts are sent to "
        "(`slack://…`, `mailtos://…`, `json://host:port`); default: nobody is told.",
    )
    notify_critical_urls: SecretStr | None = Field(
        None, description="Apprise URLs for critical alerts instead of `PENSTOCK_NOTIFY_URLS`."
    )
    notify_warning_urls: SecretStr | None = Field(
        None, description="Apprise URLs for warnings instead of `PENSTOCK_NOTIFY_URLS`."
    )
    notify_info_urls: SecretStr | None = Field(
        None, description="Apprise URLs for what is worth knowing but needs nobody, such as a promotion; default: none."
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Least severe message that is logged."
    )
    log_json: bool = Field(False, description="Log lines as JSON.")


def load_settings() -> Settings:
    """Settings from the environment.

    Raises:
        UsageError: a value does not fit (the text names the variable), or `.env` is not text.
    """
    try:
        return Settings()
    except UnicodeDecodeError as error:
        raise UsageError(f".env: not UTF-8 text ({error.reason})") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = "PENSTOCK_" + "_".join(str(part) for part in first["loc"]).upper()
        raise UsageError(f"{name}: {first['msg']}") from error
