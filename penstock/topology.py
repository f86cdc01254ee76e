"""The one table of stages and topics. Topics, AsyncAPI, diagrams and ``penstock run`` derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from penstock import events

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's contract. ``partitions`` None means: as many as the pipeline has. ``retention_ms`` None: for ever."""

    name: str
    contract: Any
    key: str
    about: str
    partitions: int | None = 1
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int | None = 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A role of the system. ``reads`` are consumed as a group; ``tails`` are followed without one."""

    name: str
    module: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    state: str
    tails: tuple[str, ...] = ()


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic("requests", events.Request, "entity", "Requests for a score.", None, "delete", 7 * DAY_MS),
        Topic(
            "predictions", events.Prediction, "entity", "What was answered, by which model.", None, "delete", 7 * DAY_MS
        ),
        Topic("labels", events.Label, "entity", "What really happened.", None, "delete", 7 * DAY_MS),
        Topic("examples", events.Example, "entity", "Predictions that met their label.", None, "delete", 30 * DAY_MS),
        Topic("evidence", events.Evidence, "partition", "Detectors' findings, mergeable over partitions."),
        Topic("drift", events.Drift, "incident", "Incidents: opened, escalated, closed."),
        Topic("metrics", events.Metrics, "partition", "Mergeable counts and sums of the stages."),
        Topic("commands", events.Command, "id", "What people, schedules and runners of effects say."),
        Topic("alerts", events.Alert, "id", "One clear line for people."),
        Topic("notifications", events.Notification, "id", "Which alerts were sent to whom, and which were not."),
        Topic(
            "incident-reports", events.IncidentReport, "incident", "What is known of each incident.", 1, "compact", None
        ),
        Topic("decisions", events.Decision, "run", "The chain of decisions about models.", 1, "delete", None),
        Topic("models", events.ModelRecord, "slot", "What each slot serves.", 1, "compact", None),
        Topic("dead-letters", None, "original key", "Records that broke their contract, byte for byte."),
        Topic("replays", events.Replay, "id", "Which dead letters went back to their topic.", 1, "delete", None),
    )
}

STAGES: dict[str, StageEntry] = {
    stage.name: stage
    for stage in (
        StageEntry(
            "scorer",
            "consumers.scorer",
            ("requests",),
            ("predictions", "metrics", "commands", "alerts"),
            "none",
            ("models",),
        ),
        StageEntry("joiner", "consumers.joiner", ("predictions", "labels"), ("examples", "metrics"), "waiting records"),
        StageEntry(
            "learner",
            "consumers.learner",
            ("examples",),
            ("models", "evidence", "metrics"),
            "committee, detectors, metrics",
        ),
        StageEntry("monitor", "consumers.monitor", ("predictions",), ("evidence", "metrics"), "windows per feature"),
        StageEntry(
            "incidents",
            "consumers.incidents",
            ("evidence",),
            ("drift", "alerts", "commands", "metrics"),
            "open incidents",
        ),
        StageEntry(
            "retrainer",
            "retraining.service",
            ("drift", "metrics", "commands"),
            ("decisions", "models", "alerts", "commands"),
            "the fold of decisions",
            ("decisions", "examples", "models"),
        ),
        StageEntry(
            "notifier",
            "consumers.notifier",
            ("drift", "metrics", "decisions"),
            ("incident-reports", "notifications"),
            "incidents that are followed",
            ("alerts", "notifications"),
        ),
        StageEntry(
            "serving",
            "serving.app",
            (),
            ("predictions", "labels", "commands", "metrics", "alerts"),
            "none",
            ("models", "predictions", "drift", "metrics", "decisions", "alerts"),
        ),
    )
}


def physical_name(pipeline: str, topic: str) -> str:
    """The name in the log: ``<pipeline>.<topic>.v1``."""
    return f"{pipeline}.{topic}.v1"


def partition_count(topic: Topic, pipeline_partitions: int) -> int:
    """How many partitions ``topic`` has in a pipeline of ``pipeline_partitions``."""
    return pipeline_partitions if topic.partitions is None else topic.partitions
