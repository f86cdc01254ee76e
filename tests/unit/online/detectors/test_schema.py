"""Rises of missing, out-of-range and undeclared shares."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from online.detectors.base import Batch
from online.detectors.schema import SchemaShares, two_proportion_p_value
from penstock.events import Features, Finding
from penstock.spec import Categorical, Date, DriftPolicy, Numeric, Pipeline

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=(Numeric("x", low=0.0, high=1.0), Categorical("c", values=("a", "b")), Categorical("any"), Date("d")),
    drift=DriftPolicy(window=200, reference=200),
)
GOOD: Features = {"x": 0.5, "c": "a", "any": "z", "d": "2026-01-01"}


def feed(detector: SchemaShares, rows: list[Features], start: int = 0) -> list[list[Finding]]:
    return [detector.update(Batch(range(i, i + 100), rows[i : i + 100])) for i in range(start, len(rows), 100)]


def last(rows: list[Features]) -> dict[tuple[str, str | None], Finding]:
    return {(f.detector, f.feature): f for f in feed(SchemaShares(PIPELINE), rows)[-1]}


@pytest.mark.parametrize(
    ("bad", "signal"),
    [
        ({"x": None}, ("missing", "x")),
        ({"any": None}, ("missing", "any")),
        ({"x": 1.5}, ("range", "x")),
        ({"x": -0.1}, ("range", "x")),
        ({"c": "new"}, ("unseen", "c")),
    ],
)
def test_each_break_is_found_once_dated_and_measured(bad: Features, signal: tuple[str, str]) -> None:
    found = last([GOOD] * 350 + [{**GOOD, **bad}] * 50)
    assert list(found) == [signal]
    finding = found[signal]
    assert (finding.kind, finding.effect, finding.reference_mean, finding.current_mean) == ("schema", 0.25, 0.0, 0.25)
    assert finding.p_value < 1e-9
    assert finding.since_event_time_ms == 350


def test_what_does_not_rise_and_dates_are_silent() -> None:
    assert last([{**GOOD, "x": None, "d": None}] * 200 + [{**GOOD, "d": None}] * 200) == {}


def test_missing_values_are_neither_in_nor_out_of_range() -> None:
    found = last([GOOD] * 200 + [{**GOOD, "x": None}] * 100 + [{**GOOD, "x": 9.0}] * 100)
    assert found["range", "x"].current_mean == 1.0
    assert found["range", "x"].n_current == 100


def test_a_range_gets_its_reference_later_where_the_first_values_were_missing() -> None:
    found = last([{**GOOD, "x": None}] * 200 + [GOOD] * 200 + [{**GOOD, "x": 9.0}] * 100)
    assert found["range", "x"].effect == 0.5


def test_the_p_value_is_the_pooled_z_tests() -> None:
    z = (30 / 200 - 10 / 100) / math.sqrt(40 / 300 * (1 - 40 / 300) * (1 / 100 + 1 / 200))
    assert two_proportion_p_value(10, 100, 30, 200) == pytest.approx(norm.sf(z))
    assert two_proportion_p_value(0, 100, 0, 100) == 1.0


def test_state_and_restore_anywhere() -> None:
    rng = np.random.default_rng(3)
    rows: list[Features] = [
        {**GOOD, "x": None if rng.random() < 0.1 + 0.5 * (i > 600) else 2 * rng.random()} for i in range(1600)
    ]
    whole = feed(SchemaShares(PIPELINE), rows)
    assert any(finding.since_event_time_ms is not None for found in whole for finding in found)
    assert all(f.effect < 0.3 for f in whole[-1]), "what lasts is the new normal"
    for cut in (0, 1, 3, 8, 13):
        first, second = SchemaShares(PIPELINE), SchemaShares(PIPELINE)
        found = feed(first, rows[: 100 * cut])
        second.restore(first.state())
        assert found + feed(second, rows, 100 * cut) == whole


def test_a_rise_is_found_in_the_newest_quarter_first() -> None:
    spec = replace(PIPELINE, drift=DriftPolicy())
    rng = np.random.default_rng(0)
    rows = [GOOD] * 2000 + [{**GOOD, "any": None} if lost else GOOD for lost in rng.random(300) < 0.15]
    (found,) = feed(SchemaShares(spec), rows)[-1]
    assert (found.detector, found.n_current) == ("missing", 250)
    assert found.since_event_time_ms == pytest.approx(2000, abs=30)
