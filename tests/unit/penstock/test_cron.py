"""Cron lines: the last and the next due time, against a look at every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.cron import MINUTE_MS, parse_cron


def ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc]


def at(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


@pytest.mark.parametrize(
    ("line", "due"),
    [
        ("0 2 * * 0", (2026, 11, 22, 2, 0)),
        ("0 2 * * 7", (2026, 11, 22, 2, 0)),
        ("0 2 * * SUN", (2026, 11, 22, 2, 0)),
        ("30 18 * * *", (2026, 11, 21, 18, 30)),
        ("*/15 * * * *", (2026, 11, 21, 18, 15)),
        ("7/20 * * * *", (2026, 11, 21, 18, 7)),
        ("0 0 29 2 *", (2028, 2, 29, 0, 0)),
        ("0 0 1,15 * *", (2026, 12, 1, 0, 0)),
        ("0 9-17/4 * jan-mar mon-fri", (2027, 1, 1, 9, 0)),
        ("0 0 1 * mon", (2026, 11, 23, 0, 0)),
        ("0 0 */2 * mon", (2026, 11, 23, 0, 0)),
        ("0 0 29 2 0-7", (2027, 2, 1, 0, 0)),
    ],
)
def test_the_next_time(line: str, due: tuple[int, ...]) -> None:
    assert at(parse_cron(line).next(ms(2026, 11, 21, 18, 1))) == at(ms(*due))


def test_a_minute_that_is_due_is_the_last_one_and_not_the_next() -> None:
    cron, sunday = parse_cron("0 2 * * 0"), ms(2026, 11, 22, 2)
    week = timedelta(days=7)
    assert cron.last(sunday) == sunday
    assert at(cron.last(sunday - 1)) == at(sunday) - week
    assert at(cron.next(sunday)) == at(sunday) + week


fields = st.tuples(
    st.sampled_from(["0", "*", "*/7", "5-50/9", "59"]),
    st.sampled_from(["2", "*", "*/5", "0,23", "8-10"]),
    st.sampled_from(["*", "1", "28", "*/10", "13-15"]),
    st.sampled_from(["*", "FEB", "1-12/2"]),
    st.sampled_from(["*", "0", "7", "MON-WED", "*/3"]),
)


@settings(max_examples=60, deadline=None)
@given(fields, st.integers(ms(1969, 12, 1), ms(2030, 1, 1)), st.integers(0, 20_000))
def test_it_is_what_a_look_at_every_minute_finds(line: tuple[str, ...], start: int, minutes: int) -> None:
    cron = parse_cron(" ".join(line))
    due = cron.next(start)
    assert due > start
    assert due % MINUTE_MS == 0
    assert cron.matches(at(due))
    first = start // MINUTE_MS + 1
    for minute in range(first, min(due // MINUTE_MS, first + minutes % 3000)):
        assert not cron.matches(at(minute * MINUTE_MS))
    assert cron.last(due) == due
    assert cron.last(due - 1) <= start


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 2 * *", "4 fields"),
        ("@weekly", "1 fields"),
        ("60 2 * * 0", "minute '60': '60' is not 0 to 59"),
        ("0 24 * * 0", "hour"),
        ("0 2 0 * 0", "day of the month"),
        ("0 2 * 13 0", "month '13': '13' is not 1 to 12 or JAN to DEC"),
        ("0 2 * * 8", "day of the week"),
        ("0 2 * * FRI-MON", "comes after"),
        ("*/0 2 * * 0", "step"),
        ("*/x 2 * * 0", "step"),
        ("-5 2 * * 0", "minute"),
        ("1,,2 2 * * 0", "minute"),
        ("0 2 30 2 *", "never due"),
        ("٣ 2 * * 0", "minute"),
    ],
)
def test_what_cannot_be_is_told(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_cron(line)
