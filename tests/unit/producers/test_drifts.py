"""What a drift on demand is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.spec import Boolean, Categorical, Date, Numeric, Pipeline
from producers.drifts import Injection, TrueDrift, parse_injection, true_drifts

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    features=(Date("when"), Categorical("colour"), Numeric("size"), Boolean("new")),
    classes=("0", "1"),
)
REGRESSION = Pipeline(name="r", task="regression", target="y", features=(Date("when"),))


@pytest.mark.parametrize(
    ("text", "injection"),
    [
        ("concept@7000", Injection("concept", 7000, "size")),
        ("covariate@0:feature=colour", Injection("covariate", 0, "colour")),
        ("prior@10:width=5", Injection("prior", 10, None, width=5)),
        ("concept@9:period=100:width=3:until=400", Injection("concept", 9, "size", 3, 400, 100)),
    ],
)
def test_what_can_be_written(text: str, injection: Injection) -> None:
    assert parse_injection(text, PIPELINE) == injection


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("concept", "write KIND@ROW"),
        ("storm@5", "write KIND@ROW"),
        ("concept@", "ROW must be a whole number"),
        ("concept@-5", "ROW must be a whole number"),
        ("concept@1.5", "ROW must be a whole number"),
        ("concept@²", "ROW must be a whole number"),
        ("concept@5:feature=", "what is 'feature='"),
        ("concept@5:speed=3", "what is 'speed=3'"),
        ("concept@5:width=1:width=2", "what is 'width=2'"),
        ("concept@5:period=0", "period must be"),
        ("concept@5:until=5", "until must lie after"),
        ("concept@5:until=9:width=4", "leaves no row"),
        ("concept@5:period=4:width=4", "leaves no row"),
        ("concept@5:feature=nope", "not a feature of pipeline p"),
        ("concept@5:feature=when", "always moves"),
        ("prior@5:feature=size", "takes no feature"),
    ],
)
def test_what_cannot_gets_one_clear_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_injection(text, PIPELINE)
    assert repr(text) in str(caught.value)


def test_what_a_pipeline_cannot_have() -> None:
    with pytest.raises(UsageError, match="needs classes"):
        parse_injection("prior@5", REGRESSION)
    with pytest.raises(UsageError, match="no feature that could drift"):
        parse_injection("covariate@5", REGRESSION)


@given(st.text(max_size=30) | st.from_regex(r"\A(concept|covariate|prior)@\d{1,6}(:\w+=\w+){0,3}\Z"))
def test_any_text_is_an_injection_or_a_usage_error(text: str) -> None:
    try:
        injection = parse_injection(text, PIPELINE)
    except UsageError:
        return
    assert injection.share_at(injection.row) > 0


def test_shares() -> None:
    abrupt = Injection("concept", 3, "size")
    assert [abrupt.share_at(row) for row in range(6)] == [0, 0, 0, 1, 1, 1]
    gradual = Injection("concept", 1, "size", width=3)
    assert [gradual.share_at(row) for row in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    recurring = Injection("concept", 2, "size", until=9, period=2)
    assert [recurring.share_at(row) for row in range(10)] == [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]


def test_true_positions() -> None:
    assert true_drifts([Injection("concept", 3, "size", width=2)], 10) == [TrueDrift(3, "concept", "size", 2)]
    assert true_drifts([Injection("concept", 10, "size")], 10) == []
    ends = true_drifts([Injection("prior", 3, None, until=6), Injection("covariate", 1, "size", until=99)], 10)
    assert ends == [
        TrueDrift(1, "covariate", "size"),
        TrueDrift(3, "prior"),
        TrueDrift(6, "prior", back=True),
    ]


@given(st.integers(0, 20), st.integers(0, 5), st.none() | st.integers(1, 8), st.none() | st.integers(1, 40))
def test_true_positions_are_where_the_share_moves(row: int, width: int, period: int | None, length: int | None) -> None:
    until = None if length is None else row + length
    room = min(x for x in (period, length, 99) if x is not None)
    if width >= room:
        return
    injection = Injection("concept", row, "size", width, until, period)
    rows = 60
    shares = [injection.share_at(at) for at in range(rows)]
    in_force = [share > 0 for share in shares]
    changes = [at for at in range(rows) if in_force[at] != (in_force[at - 1] if at else False)]
    assert [drift.row for drift in injection.changes(rows)] == changes
