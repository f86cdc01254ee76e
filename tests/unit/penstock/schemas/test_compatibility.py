"""A contract may only gain optional fields: every other change is found, and named."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.schemas.compatibility import breaking_changes
from penstock.schemas.contracts import contract_schema, contract_topics


def changed(topic: str, definition: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A deep copy of a topic's schema, and the definition inside it that a test then changes."""
    schema = copy.deepcopy(contract_schema(topic))
    return schema, schema["$defs"][definition]


@pytest.mark.parametrize("topic", contract_topics())
def test_a_contract_is_compatible_with_itself(topic: str) -> None:
    assert breaking_changes(contract_schema(topic), copy.deepcopy(contract_schema(topic))) == []


def test_an_added_optional_field_is_welcome() -> None:
    new, request = changed("requests", "Request")
    request["properties"]["channel"] = {"type": "string", "default": ""}
    assert breaking_changes(contract_schema("requests"), new) == []


def test_an_added_required_field_is_found() -> None:
    new, request = changed("requests", "Request")
    request["properties"]["channel"] = {"type": "string"}
    request["required"].append("channel")
    assert breaking_changes(contract_schema("requests"), new) == ["channel: added as required"]


def test_a_field_that_became_required_is_found() -> None:
    new, request = changed("requests", "Request")
    request["required"].append("entity")
    assert breaking_changes(contract_schema("requests"), new) == ["entity: became required"]


def test_a_field_that_is_no_longer_required_is_found() -> None:
    new, label = changed("labels", "Label")
    label["required"].remove("value")
    assert breaking_changes(contract_schema("labels"), new) == [
        "value: is no longer required, which older readers rely on"
    ]


def test_a_changed_type_is_found() -> None:
    new, prediction = changed("predictions", "Prediction")
    prediction["properties"]["generation"]["type"] = "string"
    assert breaking_changes(contract_schema("predictions"), new) == [
        "generation: type changed from 'integer' to 'string'"
    ]


def test_a_changed_type_deep_inside_is_found_with_its_path() -> None:
    new, prediction = changed("examples", "Prediction")
    prediction["properties"]["scores"]["anyOf"][0]["additionalProperties"]["type"] = "string"
    assert breaking_changes(contract_schema("examples"), new) == [
        "prediction.scores[]: type changed from 'number' to 'string'"
    ]


def test_a_changed_default_is_found() -> None:
    new, prediction = changed("predictions", "Prediction")
    prediction["properties"]["role"]["default"] = "canary"
    assert breaking_changes(contract_schema("predictions"), new) == [
        "role: default changed from 'champion' to 'canary'"
    ]


def test_a_new_allowed_value_is_found_because_older_readers_refuse_it() -> None:
    new, drift = changed("drift", "Drift")
    drift["properties"]["status"]["enum"].append("reopened")
    assert [line.partition(" changed")[0] for line in breaking_changes(contract_schema("drift"), new)] == [
        "status: enum"
    ]


def test_a_dropped_null_is_found() -> None:
    new, request = changed("requests", "Request")
    request["properties"]["entity"]["anyOf"].pop()
    assert [line.partition(" changed")[0] for line in breaking_changes(contract_schema("requests"), new)] == [
        "entity: anyOf"
    ]


def test_a_removed_variant_of_a_union_is_found() -> None:
    new = copy.deepcopy(contract_schema("commands"))
    new["anyOf"].pop()
    assert any(line.startswith("(value): anyOf changed") for line in breaking_changes(contract_schema("commands"), new))


def test_prose_may_change() -> None:
    new, request = changed("requests", "Request")
    request["description"] = "Other words."
    request["properties"]["id"]["description"] = "Chosen by the client."
    assert breaking_changes(contract_schema("requests"), new) == []


def test_recursive_contracts_end_and_are_compared() -> None:
    new, record = changed("models", "ModelRecord")
    del record["properties"]["digest"]
    assert breaking_changes(contract_schema("models"), new) == ["digest: removed"]


@given(st.data())
def test_removing_any_field_of_any_definition_is_found(data: st.DataObject) -> None:
    old = contract_schema(data.draw(st.sampled_from(contract_topics())))
    name = data.draw(st.sampled_from(sorted(old["$defs"])))
    field = data.draw(st.sampled_from(sorted(old["$defs"][name]["properties"])))
    new = copy.deepcopy(old)
    del new["$defs"][name]["properties"][field]
    found = breaking_changes(old, new)
    assert [line for line in found if line.endswith(f"{field}: removed")]
