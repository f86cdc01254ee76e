"""The benchmarks' events keep the product's contracts."""

from __future__ import annotations

from benchmarks.stream import encoded, examples, open_source, requests
from penstock.contract import decoder_for


def test_requests_and_examples_keep_their_contracts_and_have_ids_of_their_own() -> None:
    source = open_source("bench")
    for topic, events in (("requests", requests(source, 50)), ("examples", examples(source, 50))):
        decode = decoder_for(topic, source.pipeline)
        records = list(encoded(events))
        assert [decode(value).id.encode() for _, value in records] == [key for key, _ in records]  # type: ignore[attr-defined]
        assert len({key for key, _ in records}) == 50


def test_equal_calls_give_equal_bytes() -> None:
    first, second = (list(encoded(examples(open_source("bench"), 20))) for _ in range(2))
    assert first == second
