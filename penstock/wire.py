"""A msgspec type per pipeline, so that most requests are decoded and checked in one pass of C code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import msgspec

from penstock.events import EventTime, Identifier, Request
from penstock.spec import Boolean, Date, Feature, Numeric, Pipeline


def quick_request_decoder(
    pipeline: Pipeline, largest: float, thorough: Callable[[bytes], Request]
) -> Callable[[bytes], Request]:
    """A function from bytes to a request that keeps the contract; what only the long way can tell it asks ``thorough``.

    ``largest`` is the greatest magnitude of a number. It is ``thorough`` itself where this pipeline's features need
    checks that no type expresses.
    """
    if any(isinstance(feature, Date) for feature in pipeline.features):
        return thorough
    names = [feature.name for feature in pipeline.features]
    # The functional forms, as names come from data and may be anything.
    features: Any = TypedDict("features", {feature.name: _type_of(feature, largest) for feature in pipeline.features})  # type: ignore[misc]
    fields: list[Any] = [("features", features), ("event_time_ms", EventTime | None, None)]
    if pipeline.entity is not None:
        fields.append(("entity", Identifier))
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(
        msgspec.defstruct("Request", fields, bases=(Request,), frozen=True, kw_only=True)
    ).decode

    def quick(value: bytes) -> Request:
        try:
            request: Request = decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return thorough(value)
        return request if [*request.features] == names else thorough(value)

    return quick


def _type_of(feature: Feature, largest: float) -> Any:
    if isinstance(feature, Numeric):
        return Annotated[float, msgspec.Meta(ge=-largest, le=largest)] | None
    return bool | None if isinstance(feature, Boolean) else str | None
