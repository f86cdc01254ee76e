"""JSON Schemas (draft 2020-12) of the topic contracts."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from penstock.topology import TOPICS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def contract_schema(topic: str) -> dict[str, Any]:
    """The schema of one topic's values. Raises ``KeyError`` for a topic without a contract or an unknown one."""
    contract = TOPICS[topic].contract
    if contract is None:
        raise KeyError(topic)
    body = _tidied(msgspec.json.schema(contract))
    return {"$schema": DIALECT, "$id": f"urn:penstock:{topic}:v1", **body}


def contract_topics() -> list[str]:
    """Topics that have a contract (all but ``dead-letters``, which keeps foreign bytes), in the table's order."""
    return [topic.name for topic in TOPICS.values() if topic.contract is not None]


def component_schemas(contract: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A contract's schema with references to ``#/components/schemas/``, and the components that it needs.

    The discriminator is left out: AsyncAPI's is another one than OpenAPI's, and each variant's tag says the same.
    """
    (body,), components = msgspec.json.schema_components([contract], ref_template="#/components/schemas/{name}")
    body = {keyword: value for keyword, value in body.items() if keyword != "discriminator"}
    return _tidied(body), {name: _tidied(schema) for name, schema in components.items()}


def _tidied(schema: Any) -> Any:
    """Docstrings without indentation (Python versions differ in it) and without reST quotes."""
    if isinstance(schema, dict):
        return {
            key: _prose(value) if key == "description" and isinstance(value, str) else _tidied(value)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_tidied(value) for value in schema]
    return schema


def _prose(text: str) -> str:
    paragraphs = inspect.cleandoc(text).replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
