"""The generated JSON Schemas say what the decoders do."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from penstock.schemas.contracts import component_schemas, contract_schema, contract_topics
from penstock.topology import TOPICS


def test_every_topic_but_dead_letters_has_a_contract() -> None:
    assert set(TOPICS) - set(contract_topics()) == {"dead-letters"}


def test_a_topic_without_contract_is_an_error() -> None:
    with pytest.raises(KeyError):
        contract_schema("dead-letters")


@pytest.mark.parametrize("topic", contract_topics())
def test_required_fields_are_those_that_the_decoder_demands(topic: str) -> None:
    """A record without any field is refused for the first field that the schema requires (unions: per tag)."""
    schema = contract_schema(topic)
    for branch in schema.get("anyOf", [schema]):
        definition = schema["$defs"][branch["$ref"].rpartition("/")[2]]
        tag = {"kind": definition["properties"]["kind"]["enum"][0]} if "anyOf" in schema else {}
        missing = next(name for name in definition["required"] if name not in tag)
        with pytest.raises(msgspec.ValidationError, match=f"missing required field `{missing}`"):
            msgspec.json.decode(msgspec.json.encode(tag), type=TOPICS[topic].contract)


def test_descriptions_are_prose_without_indentation() -> None:
    description = contract_schema("predictions")["$defs"]["Prediction"]["description"]
    assert "``" not in description
    assert "  " not in description
    assert "Topic `predictions`" in description


def test_schemas_do_not_depend_on_the_hash_seed() -> None:
    code = "from penstock.schemas.__main__ import generated_files; print(generated_files())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_components_carry_no_openapi_discriminator() -> None:
    body, components = component_schemas(TOPICS["commands"].contract)
    assert "discriminator" not in body
    assert {branch["$ref"].rpartition("/")[2] for branch in body["anyOf"]} <= set(components)
