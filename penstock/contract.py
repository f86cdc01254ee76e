"""From bytes to checked events: the spec's contract for requests and labels, and plain decoding for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

import msgspec

from penstock.errors import ContractError
from penstock.events import (
    EARLIEST_MS,
    LATEST_MS,
    Event,
    Example,
    Features,
    FeatureValue,
    Identifier,
    Label,
    Outcome,
    Prediction,
    Request,
)
from penstock.spec import Boolean, Date, Feature, Numeric, Pipeline
from penstock.topology import TOPICS
from penstock.wire import quick_request_decoder

#: A number beyond this is refused: sums of squares of larger ones overflow.
MAX_MAGNITUDE = 1e150


@lru_cache(maxsize=65_536)
def _parses(text: str, format_: str) -> bool:
    try:
        datetime.strptime(text, format_)  # noqa: DTZ007 - dates have no zone; they are calendar days
    except ValueError:
        return False
    return True


def check_value(feature: Feature, value: FeatureValue) -> FeatureValue:
    """``value`` in the feature's type (an int becomes a float), or None for a missing one.

    Raises:
        ContractError: a wrong type, NaN, an infinity, or a date that does not parse; names ``features.<name>``.
    """
    if value is None:
        return None
    where = f"features.{feature.name}"
    if isinstance(feature, Numeric):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ContractError(where, f"expected a number, got {_kind(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ContractError(where, "NaN and infinities are refused; send null for a missing value")
        if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE:
            raise ContractError(where, "the number is too large")
        return float(value)
    if isinstance(feature, Boolean):
        if not isinstance(value, bool):
            raise ContractError(where, f"expected true or false, got {_kind(value)}")
        return value
    if not isinstance(value, str):
        raise ContractError(where, f"expected a string, got {_kind(value)}")
    if isinstance(feature, Date) and not _parses(value, feature.format):
        raise ContractError(where, f"expected a date like {feature.format}, got {value[:40]!r}")
    return value


_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def check_features(pipeline: Pipeline, features: Features) -> Features:
    """The declared features in declared order; unknown ones are dropped.

    Raises:
        ContractError: a feature is absent or does not fit.
    """
    checked: Features = {}
    for feature in pipeline.features:
        try:
            value = features[feature.name]
        except KeyError:
            raise ContractError(f"features.{feature.name}", "absent; send null for a missing value") from None
        checked[feature.name] = check_value(feature, value)
    return checked


def check_request(pipeline: Pipeline, request: Request) -> Request:
    """``request`` with checked features. Raises ``ContractError``."""
    if pipeline.entity is not None and request.entity is None:
        raise ContractError("entity", "absent; this pipeline joins labels by entity")
    features = check_features(pipeline, request.features)
    return Request(id=request.id, features=features, entity=request.entity, event_time_ms=request.event_time_ms)


#: To JSON 5.0 is an integer, and some writers have no other.
_Time: TypeAlias = Annotated[float, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]


class _WireRequest(msgspec.Struct):
    """A request as it comes: features that nobody declared may hold anything, and are dropped."""

    id: Identifier
    features: dict[str, Any]
    entity: Identifier | None = None
    event_time_ms: _Time | None = None


class _WireLabel(msgspec.Struct):
    """A label as it comes."""

    id: Identifier
    value: str | float | int | bool
    entity: Identifier | None = None
    event_time_ms: _Time | None = None


def _whole(time_ms: float | None) -> int | None:
    if time_ms is not None and not time_ms.is_integer():
        raise ContractError("event_time_ms", "expected a whole number of milliseconds")
    return None if time_ms is None else int(time_ms)


def _request(wire: _WireRequest) -> Request:
    return Request(id=wire.id, features=wire.features, entity=wire.entity, event_time_ms=_whole(wire.event_time_ms))


def _label(wire: _WireLabel) -> Label:
    return Label(id=wire.id, value=wire.value, entity=wire.entity, event_time_ms=_whole(wire.event_time_ms))


def check_outcome(pipeline: Pipeline, value: str | float | int | bool) -> Outcome:
    """A label's value as one of the pipeline's classes or as a finite number.

    Numbers and booleans are accepted for classes of the same text (1 and 1.0 for "1"; true for "true" or "1").

    Raises:
        ContractError: not a class of this pipeline, or not a finite number.
    """
    if pipeline.task == "regression":
        if isinstance(value, bool | str):
            raise ContractError("value", f"expected a number, got {_kind(value)}")
        if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE:
            raise ContractError("value", "expected a finite number")
        return float(value)
    for name in _spellings(value):
        if name in pipeline.classes:
            return name
    raise ContractError("value", f"{str(value)[:40]!r} is not one of {', '.join(pipeline.classes[:10])}")


def _spellings(value: str | float | int | bool) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (str(value).lower(), str(value), str(int(value)))
    if isinstance(value, float) and value.is_integer():
        return (str(int(value)), str(value))
    return (str(value),)


def check_label(pipeline: Pipeline, label: Label) -> Label:
    """``label`` with its value in the pipeline's terms. Raises ``ContractError``."""
    if pipeline.entity is not None and label.entity is None:
        raise ContractError("entity", "absent; this pipeline joins labels by entity")
    return msgspec.structs.replace(label, value=check_outcome(pipeline, label.value))


def check_prediction(pipeline: Pipeline, prediction: Prediction) -> Prediction:
    """``prediction``, which has the score of the pipeline's task. Raises ``ContractError``."""
    if pipeline.task == "multiclass":
        if not prediction.scores:
            raise ContractError("scores", "absent; this pipeline predicts one of several classes")
    elif prediction.score is None:
        raise ContractError("score", "absent or null")
    return prediction


def _check_example(pipeline: Pipeline, example: Example) -> Example:
    if not example.revision:  # a revision says which prediction it is about, no more: it is never learned
        check_prediction(pipeline, example.prediction)
    return example


def _decode(decoder: msgspec.json.Decoder[Any], value: bytes) -> Any:
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".").replace("[...]", "")
        raise ContractError(field, problem[:1].lower() + problem[1:]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError("", f"not JSON: {error}") from error


def _request_decoder(pipeline: Pipeline) -> Callable[[bytes], Request]:
    """The long way can say what is wrong with a request; most requests never need it."""
    decoder = msgspec.json.Decoder(_WireRequest)

    def thorough(value: bytes) -> Request:
        return check_request(pipeline, _request(_decode(decoder, value)))

    return quick_request_decoder(pipeline, MAX_MAGNITUDE, thorough)


def decoder_for(topic: str, pipeline: Pipeline) -> Callable[[bytes], Event]:
    """A function from a record's bytes to its checked event, for one topic of the topology.

    The function raises ``ContractError`` for anything that a stage must not see.
    """
    if topic == "requests":
        return _request_decoder(pipeline)
    if topic == "labels":
        label_decoder = msgspec.json.Decoder(_WireLabel)
        return lambda value: check_label(pipeline, _label(_decode(label_decoder, value)))
    decoder = msgspec.json.Decoder(TOPICS[topic].contract)
    if topic == "predictions":
        return lambda value: check_prediction(pipeline, _decode(decoder, value))
    if topic == "examples":
        return lambda value: _check_example(pipeline, _decode(decoder, value))

    def decode(value: bytes) -> Event:
        event: Event = _decode(decoder, value)
        return event

    return decode
