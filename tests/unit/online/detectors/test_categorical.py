"""The χ² detector: tables, pooling, bounded memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from online.detectors.base import Batch
from online.detectors.categorical import CATEGORY_LENGTH, POOLED, ChiSquare, category
from online.detectors.dependence import SUSPECT
from online.detectors.remembered import PORTION, REMEMBERED
from penstock.events import Features, Finding
from penstock.spec import Boolean, Categorical, DriftPolicy, Pipeline


def pipeline(window: int = 200, reference: int = 200) -> Pipeline:
    return Pipeline(
        name="p",
        task="binary",
        target="y",
        classes=("0", "1"),
        features=(Categorical("c"), Boolean("b")),
        drift=DriftPolicy(window=window, reference=reference),
    )


def feed(detector: ChiSquare, rows: list[Features], look: int = 100, start: int = 0) -> list[list[Finding]]:
    return [
        detector.update(Batch(range(i, min(i + look, len(rows))), rows[i : i + look]))
        for i in range(start, len(rows), look)
    ]


def draw(rng: np.random.Generator, n: int, shares: list[float], true: float = 0.5) -> list[Features]:
    names = rng.choice(len(shares), size=n, p=shares)
    return [{"c": f"v{name}", "b": bool(rng.random() < true)} for name in names]


@given(st.lists(st.integers(25, 60), min_size=2, max_size=3), st.data())
def test_statistic_and_p_value_are_scipys_when_nothing_is_pooled(reference, data) -> None:
    current = data.draw(st.lists(st.integers(25, 60), min_size=len(reference), max_size=len(reference)))
    n, m = sum(reference), sum(current)
    least = 10 * (n + m) / min(n, m)
    if min(a + b for a, b in zip(reference, current, strict=True)) < least:
        return
    detector = ChiSquare(pipeline(window=m, reference=n))
    rows = [
        {"c": f"v{i}", "b": None} for counts in (reference, current) for i, k in enumerate(counts) for _ in range(k)
    ]
    (finding,) = detector.update(Batch(range(len(rows)), rows))
    truth = chi2_contingency([reference, current], correction=False)
    assert finding.statistic == pytest.approx(truth.statistic, rel=1e-9, abs=1e-9)
    if truth.pvalue > SUSPECT:
        assert finding.p_value == pytest.approx(truth.pvalue, rel=1e-6)
    else:  # the rows come value by value, far from independent
        assert finding.p_value >= truth.pvalue
    shares = np.abs(np.array(reference) / n - np.array(current) / m)
    assert finding.effect == pytest.approx(shares.sum() / 2)


def test_a_change_of_shares_is_found_dated_and_drawn() -> None:
    rng = np.random.default_rng(1)
    rows = draw(rng, 2300, [0.7, 0.2, 0.1]) + draw(rng, 700, [0.2, 0.7, 0.1])
    found = feed(ChiSquare(pipeline(1000, 1000)), rows)[-1][0]
    assert found.feature == "c"
    assert found.effect == pytest.approx(0.35, abs=0.06)
    assert found.since_event_time_ms == pytest.approx(2300, abs=40)
    assert found.histogram is not None
    assert sum(found.histogram.reference) == sum(found.histogram.current) == 1000
    assert found.histogram.categories == ["v0", "v1", "v2"]


def test_a_strong_change_is_seen_in_the_newest_quarter_first() -> None:
    rng = np.random.default_rng(1)
    rows = draw(rng, 2300, [0.7, 0.2, 0.1]) + draw(rng, 200, [0.4, 0.4, 0.2])
    found = feed(ChiSquare(pipeline(1000, 1000)), rows)[-1][0]
    assert found.n_current == 250
    assert found.histogram is not None
    assert found.since_event_time_ms == pytest.approx(2300, abs=60)


def test_booleans_are_two_categories() -> None:
    rng = np.random.default_rng(1)
    rows = draw(rng, 400, [1.0], 0.2) + draw(rng, 200, [1.0], 0.9)
    found = next(f for f in feed(ChiSquare(pipeline()), rows)[-1] if f.feature == "b")
    assert found.p_value < 1e-6
    assert found.histogram is not None
    assert set(found.histogram.categories or []) == {"true", "false"}


def test_an_unseen_category_that_takes_over_is_found() -> None:
    rows: list[Features] = [{"c": "old", "b": True}] * 400 + [{"c": "new", "b": True}] * 100
    found = feed(ChiSquare(pipeline()), rows)[-1][0]
    assert (found.effect, found.p_value < 1e-6) == (0.5, True)


def test_a_hundred_thousand_values_are_one_cell_and_cost_two_windows() -> None:
    detector = ChiSquare(pipeline())
    sizes, findings = [], []
    for start in range(0, 20_000, 100):
        rows: list[Features] = [{"c": f"{start + i}-{'x' * 5000}", "b": None} for i in range(100)]
        findings += detector.update(Batch(range(start, start + 100), rows))
        sizes.append(len(detector.state()))
    assert all((finding.effect, finding.p_value) == (0.0, 1.0) for finding in findings)
    assert max(sizes[10:]) < 400 * (CATEGORY_LENGTH + 10) + 1000 + 200 * 10 + 2 * (REMEMBERED + PORTION)


def test_rare_categories_are_pooled_in_histograms() -> None:
    rng = np.random.default_rng(1)
    rare = [0.01] * 30
    rows = draw(rng, 400, [0.7, *rare]) + draw(rng, 200, [0.1, *[0.03] * 30])
    found = feed(ChiSquare(pipeline()), rows)[-1][0]
    assert found.histogram is not None
    assert POOLED in (found.histogram.categories or [])


def test_missing_values_are_left_out_and_all_missing_is_no_finding() -> None:
    rows: list[Features] = [{"c": None, "b": None}] * 500
    assert feed(ChiSquare(pipeline()), rows) == [[]] * 5


def test_what_lasts_is_the_new_normal() -> None:
    rng = np.random.default_rng(1)
    rows = draw(rng, 400, [0.9, 0.1]) + draw(rng, 1000, [0.1, 0.9])
    effects = [found[0].effect for found in feed(ChiSquare(pipeline()), rows) if found]
    assert max(effects) > 0.6
    assert max(effects[-2:]) < 0.2


def test_state_and_restore_anywhere() -> None:
    rng = np.random.default_rng(1)
    rows = draw(rng, 500, [0.9, 0.05, 0.05]) + draw(rng, 700, [0.1, 0.9])
    rows[7] = {"c": None, "b": None}
    whole = feed(ChiSquare(pipeline()), rows)
    for cut in (0, 1, 3, 9):
        first, second = ChiSquare(pipeline()), ChiSquare(pipeline())
        found = feed(first, rows[: cut * 100])
        second.restore(first.state())
        assert found + feed(second, rows, start=cut * 100) == whole


def test_how_values_are_counted() -> None:
    assert [category(v) for v in (None, True, False, "a", "x" * 99)] == [None, "true", "false", "a", "x" * 64]
    assert Counter(category(v) for v in ("x" * 99, "x" * 88)) == {"x" * 64: 2}
