from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import events
from penstock.topology import TOPICS

FINITE = st.floats(allow_nan=False, allow_infinity=False)
FEATURES = st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.booleans(), FINITE, st.text(max_size=8)))
PREDICTIONS = st.builds(
    events.Prediction,
    id=st.text(min_size=1, max_size=256),
    entity=st.text(max_size=8),
    event_time_ms=st.integers(-(2**53), 2**53),
    features=FEATURES,
    version=st.text(max_size=8),
    generation=st.integers(0, 1000),
    decision=st.one_of(st.text(max_size=8), FINITE),
    score=st.one_of(st.none(), FINITE),
    shadow=st.dictionaries(st.text(max_size=4), FINITE, max_size=3),
)


@given(PREDICTIONS)
def test_what_is_written_is_read_back_bit_for_bit(prediction: events.Prediction) -> None:
    written = events.encode(prediction)
    read = msgspec.json.decode(written, type=events.Prediction)
    assert read == prediction
    assert events.encode(read) == written


@given(PREDICTIONS)
def test_an_older_reader_reads_a_newer_writer(prediction: events.Prediction) -> None:
    newer = msgspec.json.encode({**msgspec.json.decode(events.encode(prediction)), "channel": {"new": [1]}})
    assert msgspec.json.decode(newer, type=events.Prediction) == prediction


def test_events_are_frozen() -> None:
    label = events.Label(id="a", value=1)
    with pytest.raises(AttributeError):
        label.value = 0  # type: ignore[misc]


def test_defaults_are_left_out_on_the_wire() -> None:
    assert events.encode(events.Label(id="a", value=1)) == b'{"id":"a","value":1}'


@pytest.mark.parametrize("body", [b'{"score":NaN}', b'{"score":1e999}', b'{"score":Infinity}'])
def test_what_is_not_finite_is_not_read(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)


@pytest.mark.parametrize("moment", [-62_135_596_800_001, 253_402_300_800_000, 10**30])
def test_client_times_outside_the_calendar_are_refused(moment: int) -> None:
    for contract, rest in ((events.Request, {"features": {}}), (events.Label, {"value": 1})):
        body = msgspec.json.encode({"id": "a", "event_time_ms": moment, **rest})
        with pytest.raises(msgspec.ValidationError, match=r"event_time_ms"):
            msgspec.json.decode(body, type=contract)


def test_served_is_the_score_in_the_task_s_shape() -> None:
    base = {"id": "a", "entity": "a", "event_time_ms": 0, "features": {}, "version": "v", "generation": 0}
    assert events.Prediction(**base, decision="1", score=0.0).served == 0.0  # type: ignore[arg-type]
    assert events.Prediction(**base, decision="x", scores={"x": 1.0}).served == {"x": 1.0}  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="neither"):
        _ = events.Prediction(**base, decision="1").served  # type: ignore[arg-type]


def test_commands_are_told_apart_by_their_tag() -> None:
    retrain = events.RetrainCommand(id="1", by="ada", at_ms=0)
    assert msgspec.json.decode(events.encode(retrain), type=TOPICS["commands"].contract) == retrain
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.json.decode(b'{"kind":"dance","id":"1","by":"ada","at_ms":0}', type=TOPICS["commands"].contract)
