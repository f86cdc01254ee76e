"""From a URL to a log, and from the topology to its topics."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from penstock.clock import Clock
from penstock.errors import UsageError
from penstock.log.embedded import EmbeddedLog
from penstock.log.port import Log, TopicConfig
from penstock.topology import TOPICS, partition_count

#: The file's name in the data directory.
FILE_NAME = "log.db"


def open_log(url: str, data_dir: Path, pipeline: str, clock: Clock) -> Log:
    """The log that ``url`` names: ``embedded`` (a file in ``data_dir``) or ``embedded:///path/to/file.db``.

    Raises:
        UsageError: ``url`` is none of these.
        LogError: the file is not a log.
        LogUnavailableError: it cannot be opened.
    """
    parts = urlsplit(url)
    if url == "embedded":
        return EmbeddedLog(data_dir / FILE_NAME, pipeline, clock)
    if parts.scheme == "embedded" and not parts.netloc and parts.path not in ("", "/"):
        return EmbeddedLog(Path(unquote(parts.path)), pipeline, clock)
    raise UsageError(f"log {url!r}: not understood; use `embedded` or `embedded:///path/to/file.db`")


def topic_configs(pipeline_partitions: int) -> list[TopicConfig]:
    """All topics of the topology, for a pipeline of ``pipeline_partitions``."""
    return [
        TopicConfig(
            topic.name, partition_count(topic, pipeline_partitions), topic.retention_ms, topic.cleanup == "compact"
        )
        for topic in TOPICS.values()
    ]
