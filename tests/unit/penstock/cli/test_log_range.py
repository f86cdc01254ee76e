"""Ranges of the log, as people write them."""

import pytest

from penstock.cli.log_range import LogRange, parse_range, read_range
from penstock.clock import VirtualClock
from penstock.errors import UnknownTopicError, UsageError
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message

TOPICS = ("predictions", "requests")


@pytest.fixture
def log():
    made = MemoryLog(VirtualClock(), topic_configs(1))
    made.append([Message("requests", b"k", b"%d" % number) for number in range(5)])
    return made


def test_it_reads_what_it_writes():
    found = parse_range("--from", "requests/2:10-500", TOPICS)
    assert found == LogRange("requests", 2, 10, 500)
    assert parse_range("--from", str(found), TOPICS) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("requests", "write TOPIC/PARTITION:FROM-TO"),
        ("requests/0:5", "write TOPIC/PARTITION:FROM-TO"),
        ("requests/0:-5-5", "write TOPIC/PARTITION:FROM-TO"),
        ("requests/0:1-٥", "write TOPIC/PARTITION:FROM-TO"),
        ("labels/0:1-5", "one of predictions, requests"),
        ("requests/0:5-5", "is empty"),
        ("requests/0:6-5", "is empty"),
    ],
)
def test_bad_ranges_are_one_clear_line(text, said):
    with pytest.raises(UsageError, match=said) as caught:
        parse_range("--from", text, TOPICS)
    assert "\n" not in str(caught.value)


def test_the_whole_range_or_nothing(log):
    assert [record.value for record in read_range(log, LogRange("requests", 0, 1, 4))] == [b"1", b"2", b"3"]
    with pytest.raises(UsageError, match="the log holds offsets 0 to 5"):
        read_range(log, LogRange("requests", 0, 1, 6))


def test_an_unknown_partition_is_named(log):
    with pytest.raises(UnknownTopicError, match="requests/3"):
        read_range(log, LogRange("requests", 3, 0, 1))
