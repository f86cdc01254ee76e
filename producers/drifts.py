"""What a drift on demand is: where it begins, what it changes, how it comes and goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, cast, get_args

from penstock.errors import UsageError
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline

DriftKind: TypeAlias = Literal["covariate", "concept", "prior"]
_HOW = "write KIND@ROW[:feature=F][:width=N][:until=ROW][:period=N], KIND one of covariate, concept, prior"


class TrueDrift(NamedTuple):
    """A change that is known to be in a stream: from data row ``row`` on, complete after ``width`` further rows.

    ``back`` marks the return to what was before.
    """

    row: int
    kind: DriftKind
    feature: str | None = None
    width: int = 0
    back: bool = False


@dataclass(frozen=True, slots=True)
class Injection:
    """One drift on demand. The rows count in the stream that comes out.

    From ``row`` to ``until`` (None: the end) the change is in force: at once, or with a share of the rows that rises
    linearly over ``width`` rows. With ``period`` it recurs: in force for that many rows, away for as many, and so on.
    """

    kind: DriftKind
    row: int
    feature: str | None
    width: int = 0
    until: int | None = None
    period: int | None = None

    def share_at(self, row: int) -> float:
        """The share of rows that is changed at ``row``, in [0, 1]."""
        if row < self.row or (self.until is not None and row >= self.until):
            return 0.0
        into = row - self.row
        if self.period is not None:
            turn, into = divmod(into, self.period)
            if turn % 2:
                return 0.0
        return 1.0 if into >= self.width else (into + 1) / (self.width + 1)

    def changes(self, rows: int) -> list[TrueDrift]:
        """Every true position of this injection in a stream of ``rows`` rows."""
        end = rows if self.until is None else min(rows, self.until)
        starts = [self.row] if self.period is None else list(range(self.row, end, self.period))
        found = [
            TrueDrift(start, self.kind, self.feature, 0 if turn % 2 else self.width, back=bool(turn % 2))
            for turn, start in enumerate(starts)
            if start < end
        ]
        if found and not found[-1].back and self.until is not None and self.until < rows:
            found.append(TrueDrift(self.until, self.kind, self.feature, 0, back=True))
        return found


def true_drifts(injections: Sequence[Injection], rows: int) -> list[TrueDrift]:
    """All changes that ``injections`` make in a stream of ``rows`` rows, by position."""
    changes = (change for injection in injections for change in injection.changes(rows))
    return sorted(changes, key=lambda change: (change.row, change.kind, change.feature or "", change.width))


def parse_injection(text: str, pipeline: Pipeline) -> Injection:
    """Read ``KIND@ROW[:feature=F][:width=N][:until=ROW][:period=N]`` and check it against ``pipeline``.

    Without a feature, covariate and concept take the first numeric one, else the first categorical or boolean one.
    Without a width the change is abrupt; with a period it recurs.

    Raises:
        UsageError: one line that says what does not fit.
    """
    where, *options = text.strip().split(":")
    kind, at, row = where.partition("@")
    if not at or kind not in get_args(DriftKind):
        raise UsageError(f"drift {text!r}: {_HOW}")
    given: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not value or key not in ("feature", "width", "until", "period") or key in given:
            raise UsageError(f"drift {text!r}: what is {option!r}? {_HOW}")
        given[key] = value
    injection = Injection(
        kind=cast("DriftKind", kind),
        row=_count(text, "ROW", row, least=0),
        feature=_feature(text, kind, given.get("feature"), pipeline),
        width=_count(text, "width", given.get("width", "0"), least=0),
        until=None if "until" not in given else _count(text, "until", given["until"], least=1),
        period=None if "period" not in given else _count(text, "period", given["period"], least=1),
    )
    _check_span(text, injection)
    return injection


def _check_span(text: str, injection: Injection) -> None:
    if injection.until is not None and injection.until <= injection.row:
        raise UsageError(f"drift {text!r}: until must lie after row {injection.row}")
    room = injection.period if injection.period is not None else (injection.until or 0) - injection.row
    if (injection.period is not None or injection.until is not None) and injection.width >= room:
        raise UsageError(f"drift {text!r}: width {injection.width} leaves no row that is changed in full")


def _count(text: str, what: str, value: str, least: int) -> int:
    if not (value.isascii() and value.isdigit()) or int(value) < least:
        raise UsageError(f"drift {text!r}: {what} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def _feature(text: str, kind: str, name: str | None, pipeline: Pipeline) -> str | None:
    if kind == "prior":
        if name is not None:
            raise UsageError(f"drift {text!r}: a prior shift is about the classes, it takes no feature")
        if pipeline.task == "regression":
            raise UsageError(
                f"drift {text!r}: a prior shift needs classes, and pipeline {pipeline.name} is a regression"
            )
        return None
    usable = [feature.name for feature in pipeline.features if isinstance(feature, Numeric)]
    usable += [feature.name for feature in pipeline.features if isinstance(feature, Categorical | Boolean)]
    if name is None:
        if not usable:
            raise UsageError(f"drift {text!r}: pipeline {pipeline.name} has no feature that could drift")
        return usable[0]
    if name not in usable:
        dates = [feature.name for feature in pipeline.features if isinstance(feature, Date)]
        why = "a date, which always moves" if name in dates else f"not a feature of pipeline {pipeline.name}"
        raise UsageError(f"drift {text!r}: {name!r} is {why}; choose one of {', '.join(usable[:20])}")
    return name
