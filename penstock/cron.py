"""Cron lines: five fields, UTC, to the minute.

Minute (0-59), hour (0-23), day of the month (1-31), month (1-12 or JAN-DEC), day of the week (0-7 or SUN-SAT; 0 and 7
are Sunday). A field is ``*``, a number, a range ``a-b``, any of these with a step ``/n``, or a list of them. Where both
days are restricted (neither field begins with ``*``), either may match, as in Vixie cron (crontab(5)).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

MINUTE_MS = 60_000
DAY_MS = 86_400_000
#: 29 February comes again after at most 8 years (around a century that is no leap year); on a given weekday, 40.
LONGEST_DAYS = 366 * 41
_EPOCH = date(1970, 1, 1)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """When something is due: sets of minutes, hours, days of the month, months and days of the week (0: Sunday)."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def last(self, at_ms: int) -> int:
        """The newest due time at or before ``at_ms``, in epoch milliseconds."""
        first = at_ms // DAY_MS
        return next(due for day in range(first, first - LONGEST_DAYS, -1) for due in self._down(day) if due <= at_ms)

    def next(self, after_ms: int) -> int:
        """The first due time after ``after_ms``, in epoch milliseconds."""
        first = after_ms // DAY_MS
        days = range(first, first + LONGEST_DAYS)
        return next(due for day in days for due in reversed(list(self._down(day))) if due > after_ms)

    def matches(self, at: datetime) -> bool:
        """Whether the minute of ``at`` (UTC) is due."""
        return at.minute in self.minutes and at.hour in self.hours and self._on(at.date())

    def _on(self, day: date) -> bool:
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (of_month or of_week if self.either_day else of_month and of_week)

    def _down(self, day: int) -> Iterator[int]:
        """The due times of a day (days since 1970), newest first."""
        if self._on(_EPOCH + timedelta(days=day)):
            for hour in sorted(self.hours, reverse=True):
                for minute in sorted(self.minutes, reverse=True):
                    yield day * DAY_MS + (hour * 60 + minute) * MINUTE_MS


def parse_cron(line: str) -> Cron:
    """The schedule that ``line`` names.

    Raises:
        ValueError: one line that says which field cannot be, and why.
    """
    texts = line.split()
    if len(texts) != len(_FIELDS):
        raise ValueError(f"{line!r} has {len(texts)} fields, not five (minute, hour, day, month, weekday)")
    minutes, hours, days, months, weekdays = (_values(text, field) for text, field in zip(texts, _FIELDS, strict=True))
    either_day = not texts[2].startswith("*") and not texts[4].startswith("*")
    cron = Cron(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), either_day)
    try:
        cron.next(int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1000)
    except StopIteration:
        raise ValueError(f"{line!r} is never due: no such month has such a day") from None
    return cron


def _values(text: str, field: _Field) -> frozenset[int]:
    return frozenset(value for part in text.split(",") for value in _range(part, field))


def _range(part: str, field: _Field) -> range:
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    if span == "*":
        low, high = field.low, field.high
    else:
        low = _number(first, part, field)
        # 5/15 is 5-59/15, as everywhere but in POSIX, which has no steps.
        high = _number(last, part, field) if dash else field.high if slash else low
    if low > high:
        raise ValueError(f"{field.name} {part!r}: {low} comes after {high}")
    if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
        raise ValueError(f"{field.name} {part!r}: the step must be a number of at least 1")
    return range(low, high + 1, int(step) if slash else 1)


def _number(text: str, part: str, field: _Field) -> int:
    if text.upper() in field.names:
        return field.names.index(text.upper()) + field.low
    if not (text.isascii() and text.isdigit() and field.low <= int(text) <= field.high):
        named = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
        raise ValueError(f"{field.name} {part!r}: {text!r} is not {field.low} to {field.high}{named}")
    return int(text)
