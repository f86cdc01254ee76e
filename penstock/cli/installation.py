"""The installation on this machine: what a process of a real (not virtual) run is composed of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.cli.compose import System, state_dir
from penstock.cli.context import Context
from penstock.cli.kafka import kafka_options
from penstock.clock import SystemClock
from penstock.errors import DependencyError
from penstock.log.open import open_log, topic_configs
from penstock.models.artifact import DirectoryArtifacts, Signer, signing_key
from penstock.models.registry import MlflowRegistry
from penstock.models.snapshots import BudgetedSnapshots
from penstock.runtime.checkpoint import DirectoryCheckpoints
from penstock.spec import Pipeline
from penstock.telemetry import Telemetry


def make_folder(path: Path) -> None:
    """Make the data directory.

    Raises:
        DependencyError: it cannot be made or is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DependencyError(f"{path}: cannot be used as the data directory ({error.strerror or error})") from error


@contextmanager
def installation(context: Context, pipeline: Pipeline) -> Iterator[System]:
    """Open the log and stores of ``pipeline`` in the data directory, and make its topics; closed at the end.

    Raises:
        DependencyError: the data directory cannot be used.
        LogError: the log cannot be opened, or has these topics with other partitions.
    """
    clock = SystemClock()
    data_dir = context.data_dir
    make_folder(data_dir)
    configured = context.settings.signing_key
    signer = Signer(signing_key(data_dir, configured.get_secret_value() if configured else None))
    directory = state_dir(data_dir, pipeline)
    artifacts = DirectoryArtifacts(directory / "artifacts", signer)
    log = open_log(context.settings.log, data_dir, pipeline.name, clock, kafka_options(context.settings, pipeline.name))
    try:
        log.ensure_topics(topic_configs(pipeline.partitions))
        yield System(
            pipeline,
            log,
            artifacts,
            DirectoryCheckpoints(directory / "checkpoints", signer),
            lambda: BudgetedSnapshots(artifacts, clock, share=context.settings.snapshot_share),
            clock,
            Telemetry(),
        )
    finally:
        log.close()


def registry_of(context: Context, pipeline: Pipeline) -> MlflowRegistry:
    """The MLflow registry: the configured server, or SQLite and a folder in the data directory."""
    directory = context.data_dir.resolve()
    uri = context.settings.mlflow_tracking_uri or f"sqlite:///{directory / 'mlflow.db'}"
    return MlflowRegistry(uri, str(directory / "mlflow-artifacts"), pipeline.name)
