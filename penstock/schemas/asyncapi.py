"""An AsyncAPI 3.0 document of the topology: channels, what each stage receives and sends, and the messages."""

from __future__ import annotations

from typing import Any

from penstock import __version__
from penstock.runtime import dead_letters
from penstock.schemas.contracts import component_schemas
from penstock.topology import DAY_MS, STAGES, TOPICS, Topic

_KAFKA_BINDING = "0.5.0"


def asyncapi_document() -> dict[str, Any]:
    """The document as plain data, in the tables' order."""
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for topic in TOPICS.values():
        messages[topic.name] = _message(topic, schemas)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Penstock",
            "version": __version__,
            "description": "Topics of one pipeline. Unknown fields are ignored; a change may only add optional fields.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS.values()},
        "operations": _operations(),
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def kept(topic: Topic) -> str:
    """How long records of ``topic`` stay, in words."""
    if topic.cleanup == "compact":
        return "the newest record per key, for ever"
    return "for ever" if topic.retention_ms is None else f"{topic.retention_ms // DAY_MS} days"


def partitions(topic: Topic) -> str:
    """How many partitions ``topic`` has, in words."""
    return "as many as the pipeline declares" if topic.partitions is None else str(topic.partitions)


def _channel(topic: Topic) -> dict[str, Any]:
    kafka: dict[str, Any] = {
        "topicConfiguration": {
            "cleanup.policy": [topic.cleanup],
            "retention.ms": -1 if topic.retention_ms is None else topic.retention_ms,
        },
        "bindingVersion": _KAFKA_BINDING,
    }
    if topic.partitions is not None:
        kafka["partitions"] = topic.partitions
    return {
        "address": f"{{pipeline}}.{topic.name}.v1",
        "description": f"{topic.about} Key: {topic.key}. Partitions: {partitions(topic)}. Kept: {kept(topic)}.",
        "parameters": {"pipeline": {"description": "Name of the pipeline."}},
        "messages": {topic.name: {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {"kafka": kafka},
    }


def _message(topic: Topic, schemas: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "summary": topic.about,
        "bindings": {
            "kafka": {"key": {"type": "string", "description": f"The {topic.key}."}, "bindingVersion": _KAFKA_BINDING}
        },
    }
    if topic.contract is None:
        return {**message, "contentType": "application/octet-stream", "headers": _dead_letter_headers()}
    payload, components = component_schemas(topic.contract)
    schemas.update(components)
    return {**message, "contentType": "application/json", "payload": payload}


def _dead_letter_headers() -> dict[str, Any]:
    about = {
        dead_letters.EXCEPTION: "Class of the error.",
        dead_letters.MESSAGE: "The error in one line; names the field.",
        dead_letters.STACKTRACE: "Where the error was raised, innermost call first.",
        dead_letters.SOURCE_TOPIC: "Topic that the record was read from.",
        dead_letters.SOURCE_PARTITION: "Its partition there.",
        dead_letters.SOURCE_OFFSET: "Its offset there.",
        dead_letters.STAGE: "The stage that refused it.",
    }
    properties = {name: {"type": "string", "description": text} for name, text in about.items()}
    return {"type": "object", "properties": properties, "required": list(about)}


def _operations() -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for stage in STAGES.values():
        for verb, action, topics in (
            ("reads", "receive", stage.reads),
            ("tails", "receive", stage.tails),
            ("writes", "send", stage.writes),
        ):
            for topic in topics:
                operations[f"{stage.name}.{verb}.{topic}"] = {
                    "action": action,
                    "summary": f"{stage.name.capitalize()} {verb} {topic}.",
                    "channel": {"$ref": f"#/channels/{topic}"},
                    "messages": [{"$ref": f"#/channels/{topic}/messages/{topic}"}],
                }
    return operations
