"""Request bodies: read within a limit, checked by the contract, and the wrong field named."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from fastapi import Request

from penstock import events
from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.spec import Pipeline
from serving.problems import BodyTooLargeError

#: A client that is still sending cannot read an answer, so a too large body is read away up to here first.
MAX_DISCARDED_BYTES = 64 * 1024 * 1024

T = TypeVar("T")

_ABSENT = re.compile(r"^object missing required field `([^`]+)`")


async def read_body(request: Request, limit: int) -> bytes:
    """The body, whatever its framing (a chunked one is counted as it comes).

    Raises:
        BodyTooLargeError: it is longer than ``limit`` bytes; no more than ``limit`` bytes were ever held.
    """
    chunks: list[bytes] = []
    size = 0
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit and "expect" in request.headers:
        raise BodyTooLargeError(limit)  # the client waits for our word before it sends
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > MAX_DISCARDED_BYTES:
            break
        else:
            chunks.clear()
    if size > limit:
        raise BodyTooLargeError(limit)
    return b"".join(chunks)


_NULL = msgspec.Raw(b"null")


class _Identity(msgspec.Struct):
    id: msgspec.Raw = _NULL


class _Rows(msgspec.Struct):
    requests: list[msgspec.Raw]


class _Labels(msgspec.Struct):
    labels: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


def request_decoder(pipeline: Pipeline) -> Callable[[bytes], events.Request]:
    """A function from a body to a checked request, which gets a new UUID where the client sent no id.

    The function raises ``ContractError`` that names the field.
    """
    checked = decoder_for("requests", pipeline)
    identity, members = msgspec.json.Decoder(_Identity), msgspec.json.Decoder(dict[str, msgspec.Raw])

    def decode(body: bytes) -> events.Request:
        try:
            if bytes(identity.decode(body).id) == b"null":
                body = msgspec.json.encode({**members.decode(body), "id": str(uuid.uuid4())})
            event = checked(body)
        except (ContractError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _located(body, error) from error
        if not isinstance(event, events.Request):
            raise TypeError(f"expected a request, got {type(event).__name__}")
        return event

    return decode


def label_decoder(pipeline: Pipeline) -> Callable[[bytes], events.Label]:
    """A function from a body to a checked label. It raises ``ContractError`` that names the field."""
    checked = decoder_for("labels", pipeline)

    def decode(body: bytes) -> events.Label:
        try:
            event = checked(body)
        except ContractError as error:
            raise _located(body, error) from error
        if not isinstance(event, events.Label):
            raise TypeError(f"expected a label, got {type(event).__name__}")
        return event

    return decode


def decode_rows(body: bytes, decode: Callable[[bytes], events.Request], limit: int) -> list[events.Request]:
    """All requests of a batch, or none.

    Raises:
        ContractError: names ``requests[<i>].<field>`` of the first that is wrong, or ``requests`` beyond ``limit``.
    """
    return _decode_each("requests", decode_body(body, _Rows).requests, decode, limit)


def decode_labels(body: bytes, decode: Callable[[bytes], events.Label], limit: int) -> list[events.Label]:
    """One label, or all of ``{"labels": [...]}``, or none.

    Raises:
        ContractError: names the field (``labels[<i>].<field>``), or ``labels`` beyond ``limit``.
    """
    rows = decode_body(body, _Labels).labels
    if isinstance(rows, msgspec.UnsetType):
        return [decode(body)]
    return _decode_each("labels", rows, decode, limit)


def decode_body(body: bytes, shape: type[T]) -> T:
    """The body as ``shape``. Raises ``ContractError``, which names the field."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _located(body, error) from error


def _decode_each(name: str, rows: list[msgspec.Raw], decode: Callable[[bytes], Any], limit: int) -> list[Any]:
    if len(rows) > limit:
        raise ContractError(name, f"{len(rows)} rows; at most {limit} in one request")
    decoded = []
    for index, row in enumerate(rows):
        try:
            decoded.append(decode(bytes(row)))
        except ContractError as error:
            where = f"{name}[{index}]"
            raise ContractError(f"{where}.{error.field}" if error.field else where, error.problem) from error
    return decoded


def _located(body: bytes, error: Exception) -> ContractError:
    """``error`` with the path of the field that caused it, which the JSON decoder does not always know."""
    try:
        # Unlike JSON proper this reads NaN (and any integer), so that the field that holds it can be named.
        value = json.loads(body, parse_int=float)
    except (ValueError, RecursionError):
        value = None
    for path in _not_finite(value, ""):
        return ContractError(path, "NaN, infinities and larger numbers are refused; send null for a missing value")
    field, text = ("", str(error)) if not isinstance(error, ContractError) else (error.field, error.problem)
    if not isinstance(error, ContractError) and isinstance(error, msgspec.ValidationError):
        text, _, path = text.partition(" - at `$")
        field, text = path.rstrip("`").lstrip("."), text[:1].lower() + text[1:]
    elif not isinstance(error, ContractError):
        text = f"not JSON: {text}"
    if absent := _ABSENT.match(text):
        return ContractError(f"{field}.{absent[1]}" if field else absent[1], "absent")
    return ContractError(field, text)


def _not_finite(value: Any, path: str) -> Iterator[str]:
    """Paths of NaN and infinities (the value came out of a parser that bounds its depth)."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path
    elif isinstance(value, dict):
        for name, held in value.items():
            yield from _not_finite(held, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, held in enumerate(value):
            yield from _not_finite(held, f"{path}[{index}]")
