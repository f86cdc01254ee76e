"""From the text of a table's field to a JSON value. What does not parse stays text: who reads it refuses it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

from penstock.events import FeatureValue
from penstock.spec import Boolean, Feature, Numeric

Parse: TypeAlias = Callable[[str], FeatureValue]

#: Spellings of a missing value, compared after stripping and case folding.
MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "<na>", "null", "none", "nan", "nat", "?", "-", "--"})
TRUE_WORDS = frozenset({"true", "yes", "t", "y", "1", "1.0"})
FALSE_WORDS = frozenset({"false", "no", "f", "n", "0", "0.0"})

#: Numbers as times: the format's name, its units in a millisecond, and the size below which a bare number is taken
#: for one (the year 5138 in each unit).
EPOCHS = (("epoch_s", 1e-3, 1e11), ("epoch_ms", 1.0, 1e14), ("epoch_us", 1e3, 1e17), ("epoch_ns", 1e6, 1e20))

_GROUPED_BY_COMMA = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_GROUPED_BY_DOT = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?")
_INFINITY = float("inf")


def is_missing(text: str) -> bool:
    """Does ``text`` stand for a missing value?"""
    return text in MISSING_WORDS or (len(text) < 12 and text.strip().casefold() in MISSING_WORDS)


def parse_number(text: str, decimal_comma: bool = False) -> float | None:
    """The finite number that ``text`` spells, or None.

    Thousands may be grouped (``1,234.5``; with ``decimal_comma`` ``1.234,5``). Infinities and Python's ``1_000`` are
    no numbers here.
    """
    if decimal_comma:
        text = text.strip()
        if _GROUPED_BY_DOT.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        elif _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
    elif "," in text and _GROUPED_BY_COMMA.fullmatch(text.strip()):
        text = text.replace(",", "")
    try:
        number = float(text)
    except ValueError:
        return None
    if "_" in text or not -_INFINITY < number < _INFINITY:
        return None
    return number


def number_parser(decimal_comma: bool) -> Parse:
    """Missing → None, a number → float, anything else → the text."""

    def parse(text: str) -> FeatureValue:
        number = parse_number(text, decimal_comma)
        if number is not None:
            return number
        return None if is_missing(text) else text

    return parse


def parse_boolean(text: str) -> FeatureValue:
    """True and false in their usual spellings, missing → None, anything else → the text."""
    word = text.strip().casefold()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    return None if word in MISSING_WORDS else text


def parse_text(text: str) -> FeatureValue:
    """The stripped text; missing → None."""
    return None if is_missing(text) else text.strip()


def parser_for(feature: Feature, decimal_comma: bool) -> Parse:
    """How the fields of ``feature``'s column are read."""
    if isinstance(feature, Numeric):
        return number_parser(decimal_comma)
    if isinstance(feature, Boolean):
        return parse_boolean
    return parse_text


def time_parser(format_: str | None) -> Callable[[str], int | None]:
    """A function from text to epoch milliseconds (UTC where no zone is given), or None where it does not parse.

    ``format_``: a strptime format, one of `EPOCHS`, or None: ISO 8601 or a number, whose size tells its unit.
    """
    units = {name: per_ms for name, per_ms, _ in EPOCHS}

    @lru_cache(maxsize=4096)
    def parse(text: str) -> int | None:
        text = text.strip()
        try:
            if format_ is None or format_ in units:
                number = parse_number(text)
                if number is not None:
                    return round(number / units[format_ or epoch_format(number) or "epoch_ms"])
            moment = datetime.fromisoformat(text) if format_ is None else datetime.strptime(text, format_)  # noqa: DTZ007 - the zone follows
        except (ValueError, OverflowError):
            return None
        return to_millis(moment)

    return parse


def epoch_format(size: float) -> str | None:
    """The name of the epoch format that a number of this size is taken for; None beyond them all."""
    return next((name for name, _, below in EPOCHS if abs(size) < below), None)


def to_millis(moment: datetime) -> int:
    """Epoch milliseconds of ``moment``; without a zone it is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
