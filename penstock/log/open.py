"""From a URL to a log, and from the topology to its topics."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from penstock.clock import Clock
from penstock.errors import LogError, UsageError
from penstock.log.embedded import EmbeddedLog
from penstock.log.kafka_options import KafkaOptions
from penstock.log.port import Log, TopicConfig
from penstock.topology import TOPICS, partition_count

#: The file's name in the data directory.
FILE_NAME = "log.db"


def open_log(url: str, data_dir: Path, pipeline: str, clock: Clock, kafka: KafkaOptions | None = None) -> Log:
    """The log that ``url`` names.

    ``embedded`` is a file in ``data_dir``, ``embedded:///path/to/file.db`` another one, and ``kafka://host:port[,…]`` a
    cluster, which ``kafka`` says how to reach (None: without TLS). Opening one waits for no cluster that is away.

    Raises:
        UsageError: ``url`` is none of these.
        LogError: the file is not a log; the client library that ``kafka`` asks for is not installed.
        LogUnavailableError: the file cannot be opened.
    """
    parts = urlsplit(url)
    if url == "embedded":
        return EmbeddedLog(data_dir / FILE_NAME, pipeline, clock)
    if parts.scheme == "embedded" and not parts.netloc and parts.path not in ("", "/"):
        return EmbeddedLog(Path(unquote(parts.path)), pipeline, clock)
    bootstrap = bootstrap_of(url)
    if bootstrap is not None:
        return _open_kafka(kafka or KafkaOptions(bootstrap=bootstrap, pipeline=pipeline))
    raise UsageError(
        f"log {url!r}: not understood; use `embedded`, `embedded:///path/to/file.db` or `kafka://host:port`"
    )


def bootstrap_of(url: str) -> str | None:
    """``host:port[,host:port…]`` of a Kafka URL; None for other URLs.

    Raises:
        UsageError: a Kafka URL without hosts, or with what such a URL does not have.
    """
    scheme, separator, rest = url.partition("://")
    if scheme != "kafka" or not separator:
        return None
    hosts = rest.rstrip("/").split(",")
    for host in hosts:
        name, colon, port = host.rpartition(":")
        if not (name and colon and port.isdecimal() and 0 < int(port) < 65_536) or set(name) & set("/?#@ "):
            raise UsageError(f"log {url!r}: not understood; use `kafka://host:port` or `kafka://host:port,host:port`")
    return ",".join(hosts)


def _open_kafka(options: KafkaOptions) -> Log:
    """The adapter that the options name; each is imported only where it is used."""
    client = options.client
    if client == "auto":
        client = "librdkafka" if find_spec("confluent_kafka") else "kafka-python"
    if client == "librdkafka":
        if not find_spec("confluent_kafka"):
            raise LogError(
                "PENSTOCK_KAFKA_CLIENT is librdkafka, but confluent-kafka is not installed; "
                "install penstock[kafka], or set PENSTOCK_KAFKA_CLIENT=kafka-python"
            )
        from penstock.log.librdkafka import LibrdkafkaLog

        return LibrdkafkaLog(options)
    from penstock.log.kafka import KafkaPythonLog

    return KafkaPythonLog(options)


def topic_configs(pipeline_partitions: int) -> list[TopicConfig]:
    """All topics of the topology, for a pipeline of ``pipeline_partitions``."""
    return [
        TopicConfig(
            topic.name, partition_count(topic, pipeline_partitions), topic.retention_ms, topic.cleanup == "compact"
        )
        for topic in TOPICS.values()
    ]
