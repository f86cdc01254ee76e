"""What a column of a table holds, judged by its texts alone: kind, dates, and whether it gives the target away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from producers.values import is_missing, parse_number, to_millis

Kind: TypeAlias = Literal["empty", "numeric", "boolean", "date", "text"]
Numbers: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]

#: This share of a column's values must parse for the column to be of a kind; the rest are bad values.
PARSED_SHARE = 0.98
BOOLEAN_WORDS = frozenset({"true", "false", "yes", "no"})
#: Day before month stands first: where both fit the data equally well, it is taken.
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%Y",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d-%b-%y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%Y%m%d",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S.%f%z",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
)
_COMPACT = "%Y%m%d"
_TRIED_FIRST = 50
#: Fewer rows of either class than this prove nothing about a leak.
LEAST_OF_CLASS = 10
LEAK_BINS = 50


@dataclass(frozen=True, slots=True)
class Column:
    """What one column holds. ``distinct`` counts non-missing texts; a date's ``other_format`` fits as well."""

    name: str
    kind: Kind
    values: int
    missing: int
    distinct: int
    integers: bool = False
    bad: int = 0
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    date_format: str | None = None
    other_format: str | None = None


def describe(name: str, texts: Sequence[str], decimal_comma: bool) -> Column:
    """Kind and summary of a column whose fields are ``texts``, in file order."""
    present = [text.strip() for text in texts if not is_missing(text)]
    missing = len(texts) - len(present)
    distinct = dict.fromkeys(present)
    if not present:
        return Column(name, "empty", 0, missing, 0)
    if {text.casefold() for text in distinct} <= BOOLEAN_WORDS:
        return Column(name, "boolean", len(present), missing, len(distinct))
    fitting = date_formats(list(distinct))
    if fitting:
        first, other = _first_by_order(fitting, present)
        bad = sum(parse_date(text, first) is None for text in present)
        return Column(
            name, "date", len(present), missing, len(distinct), bad=bad, date_format=first, other_format=other
        )
    parsed = [parse_number(text, decimal_comma) for text in present]
    numbers = [number for number in parsed if number is not None]
    if len(numbers) >= PARSED_SHARE * len(present):
        return Column(
            name,
            "numeric",
            len(present),
            missing,
            len(distinct),
            integers=all(number.is_integer() for number in numbers),
            bad=len(present) - len(numbers),
            low=min(numbers),
            high=max(numbers),
        )
    categories = tuple(sorted(distinct)) if len(distinct) <= 1000 else ()
    return Column(name, "text", len(present), missing, len(distinct), categories=categories)


def parse_date(text: str, format_: str) -> float | None:
    """Days since 1970 (with a fraction), or None where ``text`` is no date in ``format_``."""
    try:
        moment = datetime.strptime(text, format_)  # noqa: DTZ007 - to_millis takes UTC where there is no zone
        return to_millis(moment) / 86_400_000
    except (ValueError, OverflowError):
        return None


def date_formats(distinct: Sequence[str]) -> list[str]:
    """The formats in which at least 98 % of the ``distinct`` texts are dates, the usual ones first."""
    tried = distinct[:: max(1, len(distinct) // _TRIED_FIRST)]
    return [
        format_
        for format_ in DATE_FORMATS
        if _share(tried, format_) > 0.9 and _share(distinct, format_) >= PARSED_SHARE
    ]


def _share(texts: Sequence[str], format_: str) -> float:
    if format_ == _COMPACT:  # strptime takes 1997123 too; only eight digits of a likely year are a date
        texts_ok = [len(text) == 8 and text.isdigit() and 1900 <= int(text[:4]) <= 2100 for text in texts]
        if not all(texts_ok):
            return 0.0
    return sum(parse_date(text, format_) is not None for text in texts) / len(texts)


def _first_by_order(formats: Sequence[str], texts: Sequence[str]) -> tuple[str, str | None]:
    """Of formats that fit alike, the one in which the column jumps back less often in file order, and the runner-up."""
    if len(formats) == 1:
        return formats[0], None

    def steps_back(format_: str) -> int:
        days = [day for day in (parse_date(text, format_) for text in texts[:5000]) if day is not None]
        return sum(later < earlier for earlier, later in pairwise(days))

    ranked = sorted(formats, key=steps_back)  # stable: equals keep the usual order
    return ranked[0], ranked[1]


def as_numbers(column: Column, texts: Sequence[str], decimal_comma: bool) -> Numbers:
    """One number per row: the value, days for a date, a code for a text; NaN for a missing or a bad value."""
    if column.kind == "numeric":
        values = [None if is_missing(text) else parse_number(text, decimal_comma) for text in texts]
    elif column.kind == "date":
        format_ = column.date_format or ""
        known = {text: parse_date(text.strip(), format_) for text in dict.fromkeys(texts)}
        values = [known[text] for text in texts]
    else:
        codes: dict[str, float] = {}
        values = [None if is_missing(text) else codes.setdefault(text.strip().casefold(), len(codes)) for text in texts]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def auc(scores: Numbers, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks (ties count half); 0.5 where a class is absent."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if ones == 0 or zeros == 0:
        return 0.5
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def gives_away(values: Numbers, ordered: bool, positive: NDArray[np.bool_]) -> float:
    """How well one column alone tells ``positive`` from the rest: the largest AUC of four looks.

    1. is it missing; 2. and 3. its value (``ordered`` columns), missing below or above all; 4. the share of positives
    among rows of like value (50 quantile bins or the categories; missing is one of them), learned on the even rows and
    judged on the odd ones. 0.5 where a class has fewer than 10 rows.
    """
    if min(positive.sum(), (~positive).sum()) < LEAST_OF_CLASS:
        return 0.5
    missing = np.isnan(values)
    looks = [auc(missing.astype(np.float64), positive)]
    if ordered and not missing.all():
        low, high = np.nanmin(values) - 1.0, np.nanmax(values) + 1.0
        looks += [auc(np.where(missing, edge, values), positive) for edge in (low, high)]
    looks = [max(look, 1.0 - look) for look in looks]
    return max(*looks, _split_half(_bins(values, missing, ordered), positive))


def _bins(values: Numbers, missing: NDArray[np.bool_], ordered: bool) -> Codes:
    present = values[~missing]
    codes = np.zeros(len(values), dtype=np.int64)
    if len(present) == 0:
        return codes
    if ordered:
        edges = np.unique(np.quantile(present, np.linspace(0.0, 1.0, LEAK_BINS + 1)[1:-1]))
        codes[~missing] = np.digitize(present, edges) + 1
    else:
        codes[~missing] = present.astype(np.int64) + 1
    return codes


def _split_half(codes: Codes, positive: NDArray[np.bool_]) -> float:
    even = np.arange(len(codes)) % 2 == 0
    size = int(codes.max()) + 1
    rows = np.bincount(codes[even], minlength=size)
    hits = np.bincount(codes[even], weights=positive[even].astype(np.float64), minlength=size)
    shares = (hits + positive[even].mean()) / (rows + 1)
    return auc(shares[codes[~even]], positive[~even])
