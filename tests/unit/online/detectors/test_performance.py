"""Decay of what is served: against which reference, by how much, and never on trouble."""

from __future__ import annotations

import math
import random

import pytest

from online.detectors.labelled import lasting_level
from online.detectors.performance import PerformanceDecay
from penstock.events import Example, Finding, Outcome, Prediction
from penstock.models import pickles
from penstock.spec import DriftPolicy, Numeric, Pipeline

POLICY = DriftPolicy(window=500, reference=500)
BINARY = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),), drift=POLICY)
REGRESSION = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),), drift=POLICY)


def example(value: Outcome, score: float = 0.1, generation: int = 0, role: str = "champion") -> Example:
    prediction = Prediction(
        id="r",
        entity="e",
        event_time_ms=7,
        features={},
        version="v",
        generation=generation,
        decision="0",
        score=score,
        role=role,
    )
    return Example(id="r", prediction=prediction, value=value, label_time_ms=7)


def run(detector: PerformanceDecay, rates: list[float], seed: int = 1) -> list[Finding]:
    draw, found = random.Random(seed), []
    for i, rate in enumerate(rates, start=1):
        assert detector.update(example("1" if draw.random() < rate else "0"), 0.5) == []
        found += detector.look() if i % 100 == 0 else []
    return found


def regress(detector: PerformanceDecay, errors: list[float]) -> list[Finding]:
    found = []
    for i, error in enumerate(errors, start=1):
        detector.update(example(5.0 + error, score=5.0), 0.5)
        found += detector.look() if i % 100 == 0 else []
    return found


def test_a_drop_of_the_accuracy_is_told() -> None:
    last = run(PerformanceDecay(BINARY), [0.1] * 1000 + [0.3] * 500)[-1]
    assert (last.detector, last.kind, last.version, last.feature) == ("accuracy", "performance", "champion", None)
    assert last.reference_mean == pytest.approx(0.9, abs=0.04)
    assert last.current_mean == pytest.approx(0.7, abs=0.06)
    assert last.effect == last.statistic == pytest.approx(last.reference_mean - last.current_mean)
    assert last.p_value <= lasting_level(BINARY)
    assert (last.n_reference, last.n_current, last.fired) == (500, 500, False)


def test_a_rise_of_the_mean_absolute_error_is_told_relative_to_it() -> None:
    draw = random.Random(1)
    errors = [draw.gauss(0, 2.0) for _ in range(1000)] + [draw.gauss(0, 3.0) for _ in range(500)]
    last = regress(PerformanceDecay(REGRESSION), errors)[-1]
    assert last.detector == "mae"
    assert last.effect == pytest.approx(0.5, abs=0.15)
    assert last.reference_mean == pytest.approx(sum(map(abs, errors[:500])) / 500)
    assert last.current_mean == pytest.approx(sum(map(abs, errors[1000:])) / 500)
    assert last.p_value <= lasting_level(REGRESSION)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.3, 1.0])
def test_a_level_performance_is_no_decay(rate: float) -> None:
    found = run(PerformanceDecay(BINARY), [rate] * 15_000)
    assert len(found) == 145
    assert min(finding.p_value for finding in found) > lasting_level(BINARY)


def test_clusters_of_errors_are_no_decay() -> None:
    draw, rates = random.Random(1), []
    while len(rates) < 12_000:
        rates += [draw.choice((0.02, 0.1, 0.4))] * draw.randrange(20, 90)
    assert min(finding.p_value for finding in run(PerformanceDecay(BINARY), rates)) > lasting_level(BINARY)


def test_a_better_performance_becomes_the_reference() -> None:
    found = run(PerformanceDecay(BINARY), [0.5] * 500 + [0.1] * 1000 + [0.35] * 500)
    assert found[-6].reference_mean == pytest.approx(0.9, abs=0.05)
    assert found[-1].effect == pytest.approx(0.25, abs=0.08), "worse than its best, though better than at first"
    assert found[-1].p_value <= lasting_level(BINARY)


def test_what_lasts_is_the_new_normal() -> None:
    found = run(PerformanceDecay(BINARY), [0.1] * 1000 + [0.4] * 2500)
    assert max(finding.effect for finding in found) > 0.25
    assert found[-1].effect < 0.1


def test_only_the_current_champion_counts_and_a_promotion_starts_anew() -> None:
    detector = PerformanceDecay(BINARY)
    run(detector, [0.1] * 900)
    newest = detector.look()
    for _ in range(300):
        detector.update(example("1", role="canary"), 0.5)
        detector.update(example("1", generation=1), 0.5)
    assert detector.look() == newest
    detector.reset(1)
    assert detector.look() == []
    run(detector, [0.4] * 900)
    assert detector.look() == [], "these are the old generation's"
    for i in range(600):
        detector.update(example("0" if i % 2 else "1", generation=1), 0.5)
    assert [finding.reference_mean for finding in detector.look()] == [0.5]


def test_a_stream_shorter_than_its_windows_says_nothing() -> None:
    assert run(PerformanceDecay(BINARY), [0.1] * 500) == []


@pytest.mark.parametrize(
    "errors",
    [
        [0.0] * 1500,
        [0.0] * 1000 + [1.0] * 500,
        [1e300 if i % 50 == 0 else 1.0 for i in range(1500)],
        [1.7e308 * (-1) ** i for i in range(1500)],
        [5e-324] * 1500,
    ],
)
def test_no_error_makes_a_finding_that_is_not_finite(errors: list[float]) -> None:
    detector = PerformanceDecay(REGRESSION)
    found = []
    for i, error in enumerate(errors, start=1):
        detector.update(example(error, score=-error if abs(error) > 1e301 else 0.0), 0.5)
        found += detector.look() if i % 100 == 0 else []
    assert found
    for finding in found:
        numbers = (finding.statistic, finding.effect, finding.p_value, finding.reference_mean, finding.current_mean)
        assert all(number is not None and math.isfinite(number) for number in numbers)
        assert 0.0 <= finding.effect <= 1.0
        assert 0.0 <= finding.p_value <= 1.0


def test_a_pickle_goes_on_alike() -> None:
    whole, first = PerformanceDecay(BINARY), PerformanceDecay(BINARY)
    rates = [0.1] * 850 + [0.4] * 650
    draw, values = random.Random(3), []
    values = ["1" if draw.random() < rate else "0" for rate in rates]
    for i, value in enumerate(values):
        if i == 770:
            first = pickles.loads(pickles.dumps(first))
        whole.update(example(value), 0.5)
        first.update(example(value), 0.5)
        assert first.look() == whole.look()
    assert whole.look()
