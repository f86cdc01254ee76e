"""Settings of the installation: ``PENSTOCK_*`` in the environment or ``.env``. Only the command line reads them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.errors import UsageError


class Settings(BaseSettings):
    """Read once, frozen, secrets masked. Command-line options win over these."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    data_dir: Path = Field(Path(".penstock"), description="Log, checkpoints, artifacts and registry of this machine.")
    log: str = Field("embedded", description="Where the log is: `embedded` (a file in the data directory).")
    datasets_dir: Path | None = Field(None, description="Where known public data sets are read from and fetched to.")
    host: str = Field("127.0.0.1", description="Address that serving listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that serving listens on (0: any free one).")
    signing_key: SecretStr | None = Field(
        None, min_length=16, description="Key (≥ 16 characters) that artifacts and checkpoints are signed with."
    )
    mlflow_tracking_uri: str | None = Field(None, description="MLflow server; default: SQLite in the data directory.")
    snapshot_share: float = Field(
        0.02, gt=0, le=1, description="Share of the learner's time that publishing online snapshots may take."
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body that serving reads.")
    max_batch_rows: int = Field(1000, ge=1, description="Most rows in one batch request.")
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
