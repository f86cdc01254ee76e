"""The AsyncAPI document names every topic and every stage's use of it, and refers only to what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.errors import ContractError
from penstock.log.port import Record
from penstock.runtime.dead_letters import dead_letter
from penstock.schemas.asyncapi import asyncapi_document
from penstock.topology import STAGES, TOPICS


def references(part: Any) -> Iterator[str]:
    """Every ``$ref`` below ``part``."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_reference_resolves() -> None:
    document = asyncapi_document()
    found = set(references(document))
    assert found
    for reference in found:
        part: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in part, reference
            part = part[step]


def test_every_topic_is_a_channel_with_its_retention() -> None:
    channels = asyncapi_document()["channels"]
    assert list(channels) == list(TOPICS)
    for topic in TOPICS.values():
        binding = channels[topic.name]["bindings"]["kafka"]
        assert binding["topicConfiguration"]["retention.ms"] == (topic.retention_ms or -1)
        assert binding["topicConfiguration"]["cleanup.policy"] == [topic.cleanup]
        assert binding.get("partitions") == topic.partitions
        assert channels[topic.name]["address"] == f"{{pipeline}}.{topic.name}.v1"


def test_operations_are_exactly_those_of_the_stages() -> None:
    operations = asyncapi_document()["operations"]
    sends = {
        (name.partition(".")[0], name.rpartition(".")[2]) for name, o in operations.items() if o["action"] == "send"
    }
    receives = {(n.partition(".")[0], n.rpartition(".")[2]) for n, o in operations.items() if o["action"] == "receive"}
    assert sends == {(stage.name, topic) for stage in STAGES.values() for topic in stage.writes}
    assert receives == {(s.name, topic) for s in STAGES.values() for topic in (*s.reads, *s.tails)}


def test_dead_letters_are_bytes() -> None:
    message = asyncapi_document()["components"]["messages"]["dead-letters"]
    assert message["contentType"] == "application/octet-stream"
    assert "payload" not in message


def test_dead_letters_carry_the_headers_that_the_runtime_writes() -> None:
    record = Record("requests", 0, 7, 1, b"k", b"{")
    written = dead_letter(record, ContractError("id", "absent"), "scorer")
    message = asyncapi_document()["components"]["messages"]["dead-letters"]
    assert [name for name, _ in written.headers] == message["headers"]["required"]
    assert set(message["headers"]["properties"]) == set(message["headers"]["required"])
