from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import contract, events
from penstock.errors import ContractError
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline

FEATURES = (Numeric("amount", 0, 10), Categorical("purpose", ("car",)), Boolean("employed"), Date("since"))
GOOD: dict[str, Any] = {"amount": 1, "purpose": "car", "employed": True, "since": "2020-02-29"}


def pipeline(**changes: Any) -> Pipeline:
    """A binary pipeline with one feature of each kind."""
    fields: dict[str, Any] = {
        "name": "loans",
        "task": "binary",
        "target": "default",
        "classes": ("0", "1"),
        "features": FEATURES,
    }
    return Pipeline(**{**fields, **changes})


def refused(topic: str, body: Any, **changes: Any) -> ContractError:
    """The error of decoding ``body`` (JSON, or bytes as they are) from ``topic``."""
    value = body if isinstance(body, bytes) else msgspec.json.encode(body)
    with pytest.raises(ContractError) as caught:
        contract.decoder_for(topic, pipeline(**changes))(value)
    return caught.value


def request(**changes: Any) -> dict[str, Any]:
    return {"id": "a", "features": {**GOOD, **changes}}


def test_features_come_in_declared_order_in_their_type_and_unknown_ones_go() -> None:
    body = {"id": "a", "features": {"extra": [1], **dict(reversed(GOOD.items()))}, "note": 1}
    body["features"]["extra"] = "x"  # type: ignore[index]
    event = contract.decoder_for("requests", pipeline())(msgspec.json.encode(body))
    assert isinstance(event, events.Request)
    assert list(event.features.items()) == [
        ("amount", 1.0),
        ("purpose", "car"),
        ("employed", True),
        ("since", "2020-02-29"),
    ]
    assert isinstance(event.features["amount"], float)


@pytest.mark.parametrize("name", GOOD)
def test_null_is_a_missing_value(name: str) -> None:
    event = contract.decoder_for("requests", pipeline())(msgspec.json.encode(request(**{name: None})))
    assert isinstance(event, events.Request)
    assert event.features[name] is None


@pytest.mark.parametrize("name", GOOD)
def test_an_absent_feature_is_refused_by_name(name: str) -> None:
    rest = {key: value for key, value in GOOD.items() if key != name}
    assert refused("requests", {"id": "a", "features": rest}).field == f"features.{name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", "1"),
        ("amount", True),
        ("amount", 1e200),
        ("purpose", 1),
        ("purpose", False),
        ("employed", 1),
        ("employed", "true"),
        ("since", "29.2.2020"),
        ("since", "2021-02-29"),
        ("since", 20200229),
    ],
)
def test_a_wrong_type_is_refused_by_name(name: str, value: Any) -> None:
    assert refused("requests", request(**{name: value})).field == f"features.{name}"


@pytest.mark.parametrize(("name", "value"), [("amount", 11), ("amount", -1e9), ("purpose", "yacht")])
def test_values_out_of_range_and_unseen_categories_are_accepted(name: str, value: Any) -> None:
    event = contract.decoder_for("requests", pipeline())(msgspec.json.encode(request(**{name: value})))
    assert isinstance(event, events.Request)
    assert event.features[name] == value


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"id":"a"}', b'{"id":"","features":{}}']
)
def test_any_bytes_that_are_no_request_are_a_contract_error(body: bytes) -> None:
    assert "\n" not in str(refused("requests", body))


@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_raise_anything_else(body: bytes) -> None:
    for topic in ("requests", "labels", "predictions", "commands"):
        decode = contract.decoder_for(topic, pipeline())
        with contextlib.suppress(ContractError):
            decode(body)


@pytest.mark.parametrize("text", ["5.0", "1.7e12", "-3"])
def test_a_whole_number_is_a_time_however_it_is_written(text: str) -> None:
    features = '{"amount":null,"purpose":null,"employed":null,"since":null}'
    body = f'{{"id":"a","value":1,"event_time_ms":%s,"features":{features}}}'
    for topic in ("requests", "labels"):
        event = contract.decoder_for(topic, pipeline())((body % text).encode())
        assert isinstance(event, events.Request | events.Label)
        assert isinstance(event.event_time_ms, int)
        assert event.event_time_ms == float(text)
        assert refused(topic, (body % "5.5").encode()).field == "event_time_ms"


@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_of_any_length_are_a_contract_error(digits: int) -> None:
    """Python itself refuses to read integers beyond 4,300 digits, by another error."""
    long = b"1" * digits
    assert refused("requests", b'{"id":"a","features":{},"event_time_ms":%s}' % long).field == "event_time_ms"
    assert refused("labels", b'{"id":"a","value":%s}' % long).field == "value"
    body = b'{"id":"a","features":{"amount":%s,"purpose":null,"employed":null,"since":null}}' % long
    assert refused("requests", body).field.startswith("features")


def test_an_entity_is_demanded_where_the_pipeline_declares_one() -> None:
    assert refused("requests", request(), entity="customer").field == "entity"
    assert refused("labels", {"id": "a", "value": 1}, entity="customer").field == "entity"


@pytest.mark.parametrize(
    ("value", "classes", "expected"),
    [
        (1, ("0", "1"), "1"),
        (1.0, ("0", "1"), "1"),
        ("1", ("0", "1"), "1"),
        (True, ("0", "1"), "1"),
        (False, ("false", "true"), "false"),
        (True, ("False", "True"), "True"),
        (0.5, ("0.5", "1.5"), "0.5"),
        ("UP", ("DOWN", "UP"), "UP"),
    ],
)
def test_an_outcome_is_found_in_any_spelling_of_its_class(value: Any, classes: tuple[str, ...], expected: str) -> None:
    assert contract.check_outcome(pipeline(classes=classes), value) == expected


@pytest.mark.parametrize("value", [2, "yes", 0.5, "1 "])
def test_an_outcome_that_is_no_class_is_refused(value: Any) -> None:
    assert refused("labels", {"id": "a", "value": value}).field == "value"


@pytest.mark.parametrize("value", ["3", True, 1e200])
def test_a_regression_outcome_is_a_finite_number(value: Any) -> None:
    assert refused("labels", {"id": "a", "value": value}, task="regression", classes=()).field == "value"
    label = contract.decoder_for("labels", pipeline(task="regression", classes=()))(b'{"id":"a","value":3}')
    assert isinstance(label, events.Label)
    assert isinstance(label.value, float)


PREDICTION: dict[str, Any] = {
    "id": "a",
    "entity": "a",
    "event_time_ms": 0,
    "features": GOOD,
    "version": "v1",
    "generation": 1,
    "decision": "1",
}


def test_a_prediction_without_its_task_s_score_is_refused() -> None:
    assert refused("predictions", PREDICTION).field == "score"
    assert refused("predictions", {**PREDICTION, "scores": {"0": 1.0}}).field == "score"
    multiclass = {"task": "multiclass", "classes": ("a", "b", "c")}
    assert refused("predictions", {**PREDICTION, "score": 0.5}, **multiclass).field == "scores"
    example = {"id": "a", "prediction": PREDICTION, "value": "1", "label_time_ms": 0}
    assert refused("examples", example).field == "score"


def test_whole_predictions_and_examples_pass() -> None:
    whole = {**PREDICTION, "score": 0.5}
    prediction = contract.decoder_for("predictions", pipeline())(msgspec.json.encode(whole))
    assert isinstance(prediction, events.Prediction)
    body = {"id": "a", "prediction": whole, "value": "1", "label_time_ms": 0}
    example = contract.decoder_for("examples", pipeline())(msgspec.json.encode(body))
    assert isinstance(example, events.Example)
    assert example.prediction == prediction


def test_a_revision_needs_no_score() -> None:
    body = {"id": "a", "prediction": {**PREDICTION, "features": {}}, "value": "1", "label_time_ms": 0, "revision": 1}
    example = contract.decoder_for("examples", pipeline())(msgspec.json.encode(body))
    assert isinstance(example, events.Example)
    assert example.revision == 1
