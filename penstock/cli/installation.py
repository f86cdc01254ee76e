"""The installation on this machine: what a process of a real (not virtual) run is composed of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.cli.compose import System
from penstock.cli.context import Context
from penstock.cli.kafka import kafka_options
from penstock.cli.store import open_store
from penstock.clock import SystemClock
from penstock.errors import DependencyError
from penstock.log.kafka_options import KafkaOptions
from penstock.log.open import bootstrap_of, open_log, topic_configs
from penstock.log.port import Log
from penstock.models.registry import MlflowRegistry
from penstock.models.snapshots import BudgetedSnapshots
from penstock.runtime.collector import collect_dropped
from penstock.runtime.commits import BackgroundCommits, InlineCommits
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
def log_of(context: Context, pipeline: Pipeline, *, provided: bool = False) -> Iterator[Log]:
    """Open the log of ``pipeline``, with its topics; closed at the end. Enough for commands that only read it.

    The embedded log gets its topics here. On Kafka they are checked only: how a cluster's topics are made is not for
    a role to decide. ``provided``: somebody has seen to that; then opening waits for no cluster.

    Raises:
        UsageError: a setting does not fit.
        DependencyError: the data directory cannot be used.
        LogError: the log cannot be opened, lacks the topics (Kafka), or has them with other partitions.
    """
    make_folder(context.data_dir)
    options = kafka_options(context.settings, pipeline.name)
    log = open_log(context.settings.log, context.data_dir, pipeline.name, SystemClock(), options)
    try:
        if not provided:
            _provide_topics(log, pipeline, options)
        yield log
    finally:
        log.close()


@contextmanager
def installation(
    context: Context, pipeline: Pipeline, telemetry: Telemetry | None = None, *, provided: bool = False
) -> Iterator[System]:
    """Open the log and stores of ``pipeline``; closed at the end. ``telemetry``: whose metrics count (None: its own).

    Raises:
        UsageError, DependencyError, LogError: as `log_of`; or the store cannot be used.
    """
    clock = SystemClock()
    make_folder(context.data_dir)
    store = open_store(context.settings, pipeline)
    with log_of(context, pipeline, provided=provided) as log:
        yield System(
            pipeline,
            log,
            store.artifacts,
            store.checkpoints,
            lambda: BudgetedSnapshots(store.artifacts, clock, share=context.settings.snapshot_share),
            clock,
            telemetry or Telemetry(),
            InlineCommits if bootstrap_of(context.settings.log) is None else BackgroundCommits,
            collect_dropped,
        )


def _provide_topics(log: Log, pipeline: Pipeline, kafka: KafkaOptions | None) -> None:
    configs = topic_configs(pipeline.partitions)
    if kafka is None:
        log.ensure_topics(configs)
        return
    from penstock.log.kafka_topics import check_topics

    check_topics(kafka, configs)


def registry_of(context: Context, pipeline: Pipeline) -> MlflowRegistry:
    """The MLflow registry: the configured server, or SQLite and a folder in the data directory."""
    directory = context.data_dir.resolve()
    uri = context.settings.mlflow_tracking_uri or f"sqlite:///{directory / 'mlflow.db'}"
    return MlflowRegistry(uri, str(directory / "mlflow-artifacts"), pipeline.name)
