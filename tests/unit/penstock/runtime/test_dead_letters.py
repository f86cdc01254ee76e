from __future__ import annotations

import re

import pytest

from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.log.port import Record
from penstock.runtime.dead_letters import NAMES, Source, dead_letter, read_dead_letter
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),))


def as_record(message, offset=0):
    return Record(message.topic, 0, offset, 5, message.key, message.value, message.headers)


def test_a_dead_letter_is_the_record_byte_for_byte_with_the_headers_of_kip_1034() -> None:
    record = Record("requests", 2, 41, 1_000, b"key", b"\xff{broken", (("trace", b"abc"),))
    message = dead_letter(record, ContractError("features.x", "absent"), "scorer")
    assert (message.topic, message.partition, message.key, message.value) == ("dead-letters", 0, b"key", b"\xff{broken")
    assert message.headers == (
        ("trace", b"abc"),
        ("__streams.errors.exception", b"ContractError"),
        ("__streams.errors.message", b"features.x: absent"),
        ("__streams.errors.stacktrace", b"ContractError: features.x: absent"),
        ("__streams.errors.topic", b"requests"),
        ("__streams.errors.partition", b"2"),
        ("__streams.errors.offset", b"41"),
        ("__streams.errors.stage", b"scorer"),
    )


def test_the_stack_trace_names_calls_and_no_folders() -> None:
    with pytest.raises(ContractError) as caught:
        decoder_for("requests", PIPELINE)(b'{"id": "a", "features": {}}')
    message = dead_letter(Record("requests", 0, 0, 0, None, b""), caught.value, "scorer")
    first, *calls = dict(message.headers)["__streams.errors.stacktrace"].decode().splitlines()
    assert first == "ContractError: features.x: absent; send null for a missing value"
    assert re.fullmatch(r"\tat check_features\(contract\.py:\d+\)", calls[0])
    assert not any("/" in call for call in calls)


def test_a_record_that_was_dead_before_names_its_newest_error_only() -> None:
    first = dead_letter(Record("requests", 0, 1, 0, None, b"x"), ContractError("", "not JSON"), "scorer")
    again = Record("requests", 0, 9, 5, None, first.value, first.headers)
    second = dead_letter(again, ContractError("", "still not JSON"), "scorer")
    names = [name for name, _ in second.headers]
    assert set(names) == NAMES
    assert len(names) == len(NAMES)
    assert dict(second.headers)["__streams.errors.offset"] == b"9"


def test_a_missing_key_stays_missing() -> None:
    assert dead_letter(Record("labels", 0, 0, 0, None, b""), ContractError("", "empty"), "joiner").key is None


def test_a_dead_letter_knows_its_original() -> None:
    record = Record("requests", 2, 41, 1_000, b"key", b"\xff{broken", (("trace", b"abc"), ("trace", b"def")))
    letter = read_dead_letter(as_record(dead_letter(record, ContractError("id", "absent"), "scorer")))
    assert (letter.stage, letter.message, letter.source) == ("scorer", "id: absent", Source("requests", 2, 41))
    message = letter.original()
    assert (message.topic, message.partition, message.key, message.value) == ("requests", 2, b"key", b"\xff{broken")
    assert message.headers == record.headers


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("__streams.errors.topic", b"requests"),),
        (
            ("__streams.errors.topic", b"requests"),
            ("__streams.errors.partition", b"-1"),
            ("__streams.errors.offset", b"1"),
        ),
    ],
)
def test_a_foreign_record_has_no_place_to_go_back_to(headers) -> None:
    letter = read_dead_letter(Record("dead-letters", 0, 3, 0, None, b"?", headers))
    assert letter.source is None
    with pytest.raises(ValueError, match="no source"):
        letter.original()
