from __future__ import annotations

from penstock.errors import ContractError
from penstock.log.port import Record
from penstock.runtime.dead_letters import dead_letter


def test_a_dead_letter_is_the_record_byte_for_byte_with_the_headers_of_kip_1034() -> None:
    record = Record("requests", 2, 41, 1_000, b"key", b"\xff{broken", (("trace", b"abc"),))
    message = dead_letter(record, ContractError("features.x", "absent"), "scorer")
    assert (message.topic, message.partition, message.key, message.value) == ("dead-letters", 0, b"key", b"\xff{broken")
    assert message.headers == (
        ("trace", b"abc"),
        ("__streams.errors.exception", b"ContractError"),
        ("__streams.errors.message", b"features.x: absent"),
        ("__streams.errors.topic", b"requests"),
        ("__streams.errors.partition", b"2"),
        ("__streams.errors.offset", b"41"),
        ("__streams.errors.stage", b"scorer"),
    )


def test_a_record_that_was_dead_before_names_its_newest_error_only() -> None:
    first = dead_letter(Record("requests", 0, 1, 0, None, b"x"), ContractError("", "not JSON"), "scorer")
    again = Record("requests", 0, 9, 5, None, first.value, first.headers)
    second = dead_letter(again, ContractError("", "still not JSON"), "scorer")
    names = [name for name, _ in second.headers]
    assert len(names) == len(set(names)) == 6
    assert dict(second.headers)["__streams.errors.offset"] == b"9"


def test_a_missing_key_stays_missing() -> None:
    assert dead_letter(Record("labels", 0, 0, 0, None, b""), ContractError("", "empty"), "joiner").key is None
