"""What is decoded quickly is exactly what the long way would have said."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.contract import MAX_MAGNITUDE, check_request, decoder_for
from penstock.errors import ContractError
from penstock.events import Request
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline
from penstock.wire import quick_request_decoder


def pipeline(entity: str | None = None, *more: Any) -> Pipeline:
    return Pipeline(
        name="p",
        task="binary",
        target="y",
        features=(Numeric("a number"), Categorical("class"), Boolean("ok?"), *more),
        classes=("0", "1"),
        entity=entity,
    )


def long_way(spec: Pipeline, value: bytes) -> Request:
    """The contract as `check_request` tells it, from plain JSON."""
    wire = msgspec.json.decode(value, type=Request)
    return check_request(spec, wire)


class NotQuickError(Exception):
    """The long way was asked."""


def refuse(_: bytes) -> Request:
    raise NotQuickError


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.sampled_from([1e150, -1e150, 1.1e150, 10**200])
)
ANYTHING = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5), st.lists(st.integers(), max_size=1))
FEATURES = st.one_of(
    st.fixed_dictionaries({"a number": NUMBERS | st.none(), "class": st.text(max_size=4), "ok?": st.booleans()}),
    st.dictionaries(st.sampled_from(["a number", "class", "ok?", "more"]), ANYTHING),
)
REQUESTS = st.fixed_dictionaries(
    {"id": st.text(max_size=3), "features": FEATURES},
    optional={"entity": st.none() | st.text(max_size=3), "event_time_ms": ANYTHING, "more": ANYTHING},
)


@pytest.mark.parametrize("spec", [pipeline(), pipeline(entity="who")], ids=["plain", "entity"])
@given(request=REQUESTS)
@example(request={"id": "a", "features": {"ok?": True, "class": "x", "a number": 1}})
@example(request={"id": "a", "features": {"a number": 2**70, "class": None, "ok?": None}})
def test_quick_or_not_the_answer_is_the_same(spec: Pipeline, request: dict[str, Any]) -> None:
    value = json.dumps(request).encode()
    try:
        found = quick_request_decoder(spec, MAX_MAGNITUDE, refuse)(value)
    except NotQuickError:
        return
    wanted = long_way(spec, value)
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(wanted)
    assert list(found.features) == list(wanted.features)
    assert [type(one) for one in found.features.values()] == [type(one) for one in wanted.features.values()]


def test_a_good_request_is_quick() -> None:
    value = b'{"id":"a","features":{"a number":1,"class":"x","ok?":null},"event_time_ms":5}'
    assert quick_request_decoder(pipeline(), MAX_MAGNITUDE, refuse)(value).id == "a"
    assert isinstance(decoder_for("requests", pipeline())(value), Request)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b'{"id":"a","features":{"a number":true,"class":"x","ok?":null}}', "features.a number"),
        (b'{"id":"a","features":{"class":"x","ok?":null}}', "features.a number"),
        (b'{"id":"","features":{}}', "id"),
        (b'{"id":"a","features":{"a number":1e999,"class":"x","ok?":null}}', "features"),
        (b"\xff", ""),
        (b"[" * 10_000, ""),
    ],
)
def test_what_is_wrong_is_still_told(value: bytes, field: str) -> None:
    with pytest.raises(ContractError) as caught:
        decoder_for("requests", pipeline())(value)
    assert field in str(caught.value)


def test_other_orders_and_whole_times_as_floats_take_the_long_way() -> None:
    decode = decoder_for("requests", pipeline())
    event = decode(b'{"id":"a","features":{"ok?":false,"class":"x","a number":1},"event_time_ms":5.0}')
    assert isinstance(event, Request)
    assert (list(event.features), event.event_time_ms) == (["a number", "class", "ok?"], 5)


def test_dates_need_the_long_way() -> None:
    assert quick_request_decoder(pipeline(None, Date("day")), MAX_MAGNITUDE, refuse) is refuse
