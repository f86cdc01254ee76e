"""Shifts of the labels: the tests, what they say, and what they never say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, ks_2samp

from online.detectors.contingency import pooled
from online.detectors.dependence import SUSPECT
from online.detectors.labelled import learner_signal_count
from online.detectors.prior import BARS, LabelShift
from online.detectors.significance import significance_level
from penstock.events import Example, Finding, Outcome, Prediction
from penstock.models import pickles
from penstock.spec import DriftPolicy, Numeric, Pipeline


def pipeline(classes: int = 2, window: int = 400, look_every: int = 100) -> Pipeline:
    return Pipeline(
        name="p",
        task="regression" if not classes else "binary" if classes == 2 else "multiclass",
        target="y",
        classes=tuple(f"c{code}" for code in range(classes)),
        features=(Numeric("x"),),
        drift=DriftPolicy(window=window, reference=window, look_every=look_every),
    )


def example(i: int, value: Outcome) -> Example:
    prediction = Prediction(
        id=f"{i}", entity="e", event_time_ms=i * 10, features={}, version="v", generation=0, decision="c0", score=0.1
    )
    return Example(id=f"{i}", prediction=prediction, value=value, label_time_ms=i * 10)


def looks(detector: LabelShift, values: Sequence[Outcome], start: int = 0) -> list[Finding]:
    found = []
    for i, value in enumerate(values, start=start):
        assert detector.update(example(i, value), 0.5) == []
        if i % 100 == 99:
            found += detector.look()
    return found


def drawn(seed: int, shares: list[float], n: int) -> list[str]:
    return [f"c{code}" for code in np.random.default_rng(seed).choice(len(shares), size=n, p=shares)]


def level(spec: Pipeline) -> float:
    return significance_level(spec.drift, learner_signal_count(spec))


def test_another_share_of_a_class_is_found_and_dated() -> None:
    spec = pipeline(3)
    found = looks(LabelShift(spec), drawn(1, [0.6, 0.3, 0.1], 1000) + drawn(2, [0.3, 0.3, 0.4], 400))
    alarms = [finding for finding in found if finding.p_value <= level(spec) and finding.effect >= 0.05]
    first = alarms[0]
    assert (first.detector, first.kind, first.feature, first.version) == ("chi2", "prior", None, None)
    assert 9_500 < (first.since_event_time_ms or 0) < 10_500
    assert alarms[-1].effect == pytest.approx(0.3, abs=0.08)
    assert alarms[-1].measures.keys() == {"psi", "jensen_shannon"}
    assert alarms[-1].histogram is not None
    assert sorted(alarms[-1].histogram.categories or []) == ["c0", "c1", "c2"]
    assert alarms[-1].n_reference == alarms[-1].n_current == 400


def test_another_target_is_found_and_dated() -> None:
    spec, rng = pipeline(0), np.random.default_rng(1)
    found = looks(LabelShift(spec), [*rng.normal(0, 1, 1000).tolist(), *rng.normal(1, 1, 400).tolist()])
    alarms = [finding for finding in found if finding.p_value <= level(spec)]
    assert 9_000 < (alarms[-1].since_event_time_ms or 0) < 11_000
    assert alarms[-1].measures.keys() == {"psi", "jensen_shannon", "wasserstein"}
    assert alarms[-1].measures["wasserstein"] == pytest.approx(1.0, abs=0.3)
    histogram = alarms[-1].histogram
    assert histogram is not None
    assert sum(histogram.reference) == sum(histogram.current) == 400
    assert len(histogram.edges or []) == len(histogram.reference) + 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_two_classes_are_scipys_test(seed: int, before: float, after: float) -> None:
    values = drawn(seed, [before, 1 - before], 400) + drawn(seed + 1, [after, 1 - after], 400)
    finding = looks(LabelShift(pipeline()), values)[-1]
    if finding.n_current == 400:
        table = [[part.count("c0"), part.count("c1")] for part in (values[:400], values[400:])]
        expected = chi2_contingency(table, correction=False)
        assert finding.statistic == pytest.approx(expected.statistic, rel=1e-9)
        assert finding.p_value >= expected.pvalue * (1.0 - 1e-6)  # small ones allow for dependence
        if expected.pvalue > SUSPECT:
            assert finding.p_value == pytest.approx(expected.pvalue, rel=1e-6)
        assert finding.effect == pytest.approx(abs(table[0][0] - table[1][0]) / 400)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.floats(-1.0, 1.0), st.booleans())
def test_a_regressions_is_scipys_test(seed: int, shift: float, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate((rng.normal(0, 1, 400), rng.normal(shift, 1, 400)))
    values = np.round(values) if ties else values
    finding = looks(LabelShift(pipeline(0)), values.tolist())[-1]
    if finding.n_current == 400:
        expected = ks_2samp(values[:400], values[400:], method="asymp")
        assert finding.statistic == pytest.approx(expected.statistic, abs=1e-12)
        assert finding.p_value == pytest.approx(expected.pvalue, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 5, 1000, 0])
def test_stationary_labels_are_no_drift(classes: int) -> None:
    spec = pipeline(classes, window=1000)
    rng = np.random.default_rng(classes)
    values: list[Outcome] = (
        [f"c{code}" for code in rng.integers(classes, size=12_000)] if classes else rng.normal(size=12_000).tolist()
    )
    found = looks(LabelShift(spec), values)
    assert len(found) == 110
    assert min(finding.p_value for finding in found) > level(spec)


def test_a_thousand_classes_are_pooled_and_a_shift_is_found() -> None:
    spec, rng = pipeline(1000, window=1000), np.random.default_rng(3)
    values = [f"c{code}" for code in (*rng.integers(1000, size=2000), *rng.integers(300, size=1000))]
    found = looks(LabelShift(spec), values)
    assert found[-1].p_value <= level(spec)
    assert found[-1].histogram is not None
    assert len(found[-1].histogram.categories or []) == BARS
    assert sum(found[-1].histogram.current) == 1000


def test_one_class_only_has_no_drift_until_another_comes() -> None:
    found = looks(LabelShift(pipeline()), ["c0"] * 900 + ["c1"] * 100)
    assert {(finding.p_value, finding.effect) for finding in found[:-1]} == {(1.0, 0.0)}
    assert found[-1].p_value < 1e-9


@pytest.mark.parametrize("value", [0.0, 1e300, -1e-300])
def test_a_constant_target_has_no_drift_until_it_changes(value: float) -> None:
    found = looks(LabelShift(pipeline(0)), [value] * 900 + [value + 1.0 if value == 0.0 else -value] * 400)
    assert {(finding.p_value, finding.effect) for finding in found[:5]} == {(1.0, 0.0)}
    assert found[-1].effect == 1.0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30), st.integers(0, 99))
def test_no_target_makes_a_finding_that_is_not_finite(pool: list[float], seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = [*draw.choice(pool[: len(pool) // 2 + 1], 500).tolist(), *draw.choice(pool, 500).tolist()]
    for finding in looks(LabelShift(pipeline(0)), values):
        numbers = [finding.statistic, finding.effect, finding.p_value, *finding.measures.values()]
        numbers += (finding.histogram.edges or []) if finding.histogram else []
        assert all(math.isfinite(number) for number in numbers)
        assert 0.0 <= finding.p_value <= 1.0
        assert 0.0 <= finding.effect <= 1.0


def test_a_stream_shorter_than_its_windows_says_nothing() -> None:
    assert looks(LabelShift(pipeline()), ["c0"] * 400) == []
    assert looks(LabelShift(pipeline(window=20)), ["c0"] * 500) == [], "nor do windows too small for any test"


def test_what_lasts_is_the_new_normal() -> None:
    values = drawn(1, [0.8, 0.2], 800) + drawn(2, [0.4, 0.6], 2000)
    found = looks(LabelShift(pipeline()), values)
    assert max(finding.effect for finding in found) > 0.3
    assert found[-1].p_value > 1e-3


def test_a_promotion_starts_a_new_reference() -> None:
    detector = LabelShift(pipeline())
    looks(detector, drawn(1, [0.8, 0.2], 800))
    detector.reset(1)
    assert detector.look() == []
    found = looks(detector, drawn(2, [0.4, 0.6], 1000))
    assert min(finding.p_value for finding in found) > 1e-3


@pytest.mark.parametrize("classes", [2, 0])
def test_a_pickle_goes_on_alike(classes: int) -> None:
    values: list[Outcome] = list(drawn(1, [0.8, 0.2], 700) + drawn(2, [0.4, 0.6], 500))
    values = values if classes else [float(value == "c0") + i % 7 for i, value in enumerate(values)]
    whole, first = (LabelShift(pipeline(classes)) for _ in range(2))
    expected = looks(whole, values)
    found = looks(first, values[:770])
    again = pickles.loads(pickles.dumps(first))
    assert found + looks(again, values[770:], start=770) == expected


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.floats(1.0, 60.0))
def test_cells_hold_enough_and_every_class_has_one(counts: list[int], least: float) -> None:
    cells = pooled(np.array(counts), least)
    sums = np.bincount(cells, weights=counts)
    assert set(cells.tolist()) == set(range(int(cells.max()) + 1))
    assert len(sums) == 1 or min(sums) >= least
