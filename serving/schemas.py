"""What OpenAPI says of the routes: bodies by the contract's own schemas, features by the pipeline."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock import events
from penstock.contract import MAX_MAGNITUDE
from penstock.spec import Boolean, Categorical, Date, Feature, Numeric, Pipeline
from serving.answers import REF as _REF
from serving.answers import SHAPES
from serving.problems import MEDIA_TYPE


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": _REF + name}}}}


def answer(name: str) -> dict[str, Any]:
    """A JSON response of schema ``name``."""
    return {"description": name, "content": {"application/json": {"schema": {"$ref": _REF + name}}}}


def problem_answer(description: str) -> dict[str, Any]:
    """A response that is a problem."""
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": _REF + "Problem"}}}}


REQUEST_BODY = _body("Request")
BATCH_BODY = _body("Requests")
LABELS_BODY = _body("LabelOrLabels")

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: problem_answer("The body is not JSON."),
    413: problem_answer("The body is too large."),
    422: problem_answer("The body breaks the contract; `field` names where."),
    503: problem_answer("The event log is not available; repeat with the same id."),
}


def describe_feature(feature: Feature) -> dict[str, Any]:
    """A feature for people and clients: its name, type, and what is expected of it."""
    kind: dict[type[Any], str] = {Numeric: "number", Categorical: "string", Boolean: "boolean", Date: "date"}
    described: dict[str, Any] = {"name": feature.name, "type": kind[type(feature)]}
    if isinstance(feature, Numeric):
        described |= {"low": feature.low, "high": feature.high}
    elif isinstance(feature, Categorical):
        described["values"] = list(feature.values)
    elif isinstance(feature, Date):
        described["format"] = feature.format
    return described


#: How a caller of the management API says who it is.
SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of the settings."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key, otherwise."},
}


def components(pipeline: Pipeline) -> dict[str, Any]:
    """The schemas that the routes refer to."""
    types = (events.Prediction, events.Request, events.Label, *SHAPES)
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF + "{name}")
    request, label = schemas["Request"], schemas["Label"]
    request["properties"]["features"] = _features(pipeline)
    request["required"] = ["features"] + (["entity"] if pipeline.entity is not None else [])
    text = request["properties"]["id"]
    about = "Repeat a request with its id; without one it gets a new UUID."
    request["properties"]["id"] = {"anyOf": [text, {"type": "null"}], "description": about}
    label["properties"]["value"] = _outcome(pipeline)
    if pipeline.entity is not None:
        label["required"] = [*label["required"], "entity"]
    return {
        **schemas,
        "Requests": _list_of("requests", "Request"),
        "Predictions": _list_of("predictions", "Prediction"),
        "LabelOrLabels": {
            "oneOf": [
                {"allOf": [{"$ref": _REF + "Label"}, {"not": {"required": ["labels"]}}]},
                _list_of("labels", "Label"),
            ]
        },
        "Accepted": {"type": "object", "properties": {"accepted": {"type": "integer"}}, "required": ["accepted"]},
        "Problem": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "field": {
                    "type": "string",
                    "description": "Path of what is wrong, like requests[3].features.age; body: all of it.",
                },
            },
            "required": ["type", "title", "status", "detail"],
        },
    }


def _outcome(pipeline: Pipeline) -> dict[str, Any]:
    """What a label may say: a number, or a class in any of the spellings that the contract accepts."""
    if pipeline.task == "regression":
        return {"type": "number", "minimum": -MAX_MAGNITUDE, "maximum": MAX_MAGNITUDE}
    spellings: list[str | int | bool] = []
    for name in pipeline.classes:
        spellings.append(name)
        if name.lower() in {"true", "1"}:
            spellings.append(True)
        if name.lower() in {"false", "0"}:
            spellings.append(False)
        if name.lstrip("-").isdigit() and str(int(name)) == name:
            spellings.append(int(name))
    return {"enum": spellings}


def _list_of(name: str, item: str) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": _REF + item}}
    return {"type": "object", "properties": {name: items}, "required": [name]}


def _features(pipeline: Pipeline) -> dict[str, Any]:
    properties: dict[str, dict[str, Any]] = {}
    for feature in pipeline.features:
        described = describe_feature(feature)
        kind = "string" if described["type"] == "date" else described["type"]
        properties[feature.name] = {"type": [kind, "null"]}
        if isinstance(feature, Numeric):
            properties[feature.name] |= {"minimum": -MAX_MAGNITUDE, "maximum": MAX_MAGNITUDE}
        elif isinstance(feature, Date):
            properties[feature.name]["description"] = f"A date as {feature.format}."
        elif isinstance(feature, Categorical) and feature.values:
            properties[feature.name]["examples"] = list(feature.values[:10])
    names = [feature.name for feature in pipeline.features]
    return {"type": "object", "properties": properties, "required": names}
