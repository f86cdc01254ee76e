"""Administration of topics and groups, for both adapters and the command line. All calls end in bounded time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import (
    GroupIdNotFoundError,
    NoError,
    TopicAlreadyExistsError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
    for_code,
)

from penstock.errors import LogError
from penstock.log.kafka_admin import admin_client, until_settled
from penstock.log.kafka_errors import log_error
from penstock.log.kafka_options import KafkaOptions
from penstock.log.port import TopicConfig, TopicPartition
from penstock.topology import physical_name


def ensure_topics(options: KafkaOptions, configs: Sequence[TopicConfig]) -> list[str]:
    """Create the topics of ``options.pipeline`` that are missing; the short names of those. Idempotent.

    Raises:
        LogError: a topic exists with another number of partitions (nothing was created), or the cluster refused.
        LogUnavailableError: the cluster cannot be reached now.
    """
    with admin_client(options) as admin:
        missing = _missing(options, admin, configs)
        if missing:
            _create(options, admin, missing)
        return [config.name for config in missing]


def check_topics(options: KafkaOptions, configs: Sequence[TopicConfig]) -> None:
    """Returns where all topics are there as ``configs`` says.

    Raises:
        LogError: a topic is missing or has another number of partitions.
        LogUnavailableError: the cluster cannot be reached now.
    """
    with admin_client(options) as admin:
        missing = _missing(options, admin, configs)
    if missing:
        names = ", ".join(physical_name(options.pipeline, config.name) for config in missing)
        raise LogError(
            f"kafka at {options.bootstrap}: no such topics: {names}; create them with `penstock topics create`"
        )


def partition_counts(options: KafkaOptions, topics: Sequence[str]) -> dict[str, int]:
    """How many partitions each of ``topics`` (short names) has; those that are not there are left out.

    Raises:
        LogError, LogUnavailableError: see `ensure_topics`.
    """
    with admin_client(options) as admin:
        return counts_of(options, admin, topics)


def remove_member(options: KafkaOptions, group: str, instance: str) -> None:
    """Take the static member ``instance`` out of ``group`` at once (KIP-345). One that is not there is fine.

    Raises:
        LogError, LogUnavailableError: see `ensure_topics`.
    """
    with admin_client(options) as admin:
        try:
            member = MemberToRemove(group_instance_id=instance)
            results = until_settled(lambda: admin.remove_group_members(group, [member]))
        except GroupIdNotFoundError:
            return
    for error in results.values():
        if error not in (NoError, UnknownMemberIdError):
            raise log_error(options, f"removing {instance} from group {group}", error())


def committed_offsets(options: KafkaOptions, group: str) -> Mapping[TopicPartition, int]:
    """All that ``group`` has committed on topics of the pipeline (open transactions left out).

    Raises:
        LogError, LogUnavailableError: see `ensure_topics`.
    """
    with admin_client(options) as admin:
        try:
            held = until_settled(lambda: admin.list_group_offsets([group]))[group]
        except GroupIdNotFoundError:
            return {}
    prefix, _, suffix = physical_name(options.pipeline, "*").partition("*")
    return {
        TopicPartition(where.topic[len(prefix) : len(where.topic) - len(suffix)], where.partition): found.offset
        for where, found in held.items()
        if where.topic.startswith(prefix) and where.topic.endswith(suffix) and found.offset >= 0
    }


def counts_of(options: KafkaOptions, admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, int]:
    """`partition_counts` by a client that is there. Raises errors of kafka-python."""
    if not topics:
        return {}
    short = {physical_name(options.pipeline, topic): topic for topic in topics}
    counts = {}
    for found in admin.describe_topics(list(short)):
        error = for_code(found["error_code"])
        if error is NoError:
            counts[short[found["name"]]] = len(found["partitions"])
        elif error is not UnknownTopicOrPartitionError:
            raise error(found["name"])
    return counts


def _missing(options: KafkaOptions, admin: KafkaAdminClient, configs: Sequence[TopicConfig]) -> list[TopicConfig]:
    """Those of ``configs`` that are not there. Raises ``LogError`` where one that is there does not fit."""
    counts = counts_of(options, admin, [config.name for config in configs])
    for config in configs:
        count = counts.get(config.name, config.partitions)
        if count != config.partitions or config.partitions < 1:
            raise LogError(
                f"topic {physical_name(options.pipeline, config.name)} has {count} partitions, not "
                f"{config.partitions}; set the pipeline's partitions to {count}, or use a new pipeline name"
            )
    return [config for config in configs if config.name not in counts]


def _create(options: KafkaOptions, admin: KafkaAdminClient, configs: Sequence[TopicConfig]) -> None:
    wanted = {physical_name(options.pipeline, config.name): _settings(options, config) for config in configs}
    answer = admin.create_topics(wanted, timeout_ms=options.request_timeout_ms, raise_errors=False)
    for topic in answer["topics"]:
        error = for_code(topic["error_code"])
        if error is TopicAlreadyExistsError:
            continue  # another process was quicker; whether it fits is looked at below
        if error is not NoError:
            raise log_error(options, f"creating {topic['name']}", error(topic["error_message"] or ""))
    admin.wait_for_topics(list(wanted), timeout_ms=options.request_timeout_ms)
    _missing(options, admin, configs)


def _settings(options: KafkaOptions, config: TopicConfig) -> dict[str, object]:
    return {
        "num_partitions": config.partitions,
        "replication_factor": options.replication_factor or -1,
        "configs": {
            "retention.ms": str(-1 if config.retention_ms is None else config.retention_ms),
            "cleanup.policy": "compact" if config.compact else "delete",
            # offsets, not event times, order the log; retention must not depend on what producers claim
            "message.timestamp.type": "LogAppendTime",
        },
    }
