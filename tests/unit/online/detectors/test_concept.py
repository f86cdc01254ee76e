"""ADWIN on errors: what fires, what it says, and what it forgets."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

from online.detectors.concept import WARM_UP, ErrorDetectors, _Sample, _split, rise_p_value
from penstock.events import Example, Finding, Prediction
from penstock.models import pickles
from penstock.spec import DriftPolicy, Numeric, Pipeline

BINARY = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),))
REGRESSION = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),))


def example(i: int, wrong: bool, generation: int = 0, role: str = "champion") -> Example:
    prediction = Prediction(
        id=f"{i}",
        entity="e",
        event_time_ms=i * 10,
        features={},
        version="v",
        generation=generation,
        decision="1" if wrong else "0",
        score=0.9 if wrong else 0.1,
        role=role,
    )
    return Example(id=f"{i}", prediction=prediction, value="0", label_time_ms=i * 10)


def run(detectors: ErrorDetectors, rates: list[float], seed: int = 1, start: int = 0) -> list[tuple[int, Finding]]:
    draw = random.Random(seed)
    fired = []
    for i, rate in enumerate(rates, start=start):
        wrong = draw.random() < rate
        fired += [(i, finding) for finding in detectors.update(example(i, wrong), 0.9 if wrong else 0.1)]
    return fired


def test_a_rise_of_the_error_fires_for_both_signals_and_is_dated() -> None:
    fired = run(ErrorDetectors(BINARY), [0.2] * 2000 + [0.5] * 300)
    assert {finding.version for _, finding in fired} == {"champion", "online"}
    row, finding = fired[0]
    assert 2000 < row < 2150
    assert finding.fired
    assert finding.since_event_time_ms == pytest.approx(20_000, abs=400)
    assert finding.reference_mean == pytest.approx(0.2, abs=0.04)
    assert finding.current_mean == pytest.approx(0.5, abs=0.2)
    assert finding.effect == finding.statistic == pytest.approx(finding.current_mean - finding.reference_mean)
    assert finding.p_value < 1e-4
    assert finding.n_current >= 50


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3, 1.0])
def test_stationary_errors_do_not_fire(rate: float, seed: int) -> None:
    assert run(ErrorDetectors(BINARY), [rate] * 3000, seed) == []


def test_falling_errors_and_an_untaught_models_rise_do_not_fire() -> None:
    assert run(ErrorDetectors(BINARY), [0.5] * 1000 + [0.1] * 1000) == []
    assert run(ErrorDetectors(BINARY), [0.05] * (WARM_UP - 200) + [0.5] * 2000) == []


def test_a_short_burst_of_errors_does_not_fire() -> None:
    assert run(ErrorDetectors(BINARY), [0.1] * 2000 + [1.0] * 12 + [0.1] * 1000) == []


def test_the_error_is_compared_with_its_level_before_until_it_is_back() -> None:
    detectors = ErrorDetectors(BINARY)
    run(detectors, [0.1] * 1500 + [0.4] * 300)
    raised = {finding.version: finding for finding in detectors.look()}["online"]
    assert not raised.fired
    assert raised.effect > 0.2
    assert raised.p_value < 1e-9
    run(detectors, [0.1] * 1000)
    assert all(finding.effect < 0.02 for finding in detectors.look())


def test_what_lasts_is_the_new_normal() -> None:
    detectors = ErrorDetectors(BINARY)
    run(detectors, [0.1] * 1500 + [0.4] * 2400)
    assert [finding.effect for finding in detectors.look()] == [0.0, 0.0]


def test_only_the_current_champion_counts_for_what_was_served() -> None:
    detectors = ErrorDetectors(BINARY)
    for i in range(100):
        detectors.update(example(i, True, generation=1), 0.1)
        detectors.update(example(i, True, role="canary"), 0.1)
    assert [finding.version for finding in detectors.look()] == ["online"]


def test_a_promotion_forgets_the_old_champion_and_keeps_the_online_model() -> None:
    detectors = ErrorDetectors(BINARY)
    run(detectors, [0.3] * 1000)
    detectors.reset(1)
    detectors.update(example(1000, True, generation=1), 0.1)
    champion, online = detectors.look()
    assert (champion.version, champion.n_current) == ("champion", 1)
    assert (online.version, online.n_current) == ("online", 1001)


def test_the_online_score_is_judged_by_the_pipelines_threshold() -> None:
    pipeline = Pipeline(
        name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),), threshold=0.3
    )
    detectors = ErrorDetectors(pipeline)
    detectors.update(example(0, False), 0.35)
    assert [finding.current_mean for finding in detectors.look()] == [0.0, 1.0]


def test_multiclass_takes_the_likeliest_class() -> None:
    pipeline = Pipeline(name="p", task="multiclass", target="y", classes=("0", "1", "2"), features=(Numeric("x"),))
    detectors = ErrorDetectors(pipeline)
    detectors.update(example(0, False), {"0": 0.2, "1": 0.5, "2": 0.3})
    assert [finding.current_mean for finding in detectors.look()] == [0.0, 1.0]


def regress(detectors: ErrorDetectors, spreads: list[float], seed: int) -> list[tuple[int, Finding]]:
    draw = random.Random(seed)
    fired = []
    for i, spread in enumerate(spreads):
        prediction = Prediction(
            id=f"{i}", entity="e", event_time_ms=i, features={}, version="v", generation=0, decision=5.0, score=5.0
        )
        value = 5.0 + draw.gauss(0, spread)
        fired += [
            (i, finding)
            for finding in detectors.update(
                Example(id=f"{i}", prediction=prediction, value=value, label_time_ms=i), 5.0
            )
        ]
    return fired


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_regressions_errors_are_relative_to_what_is_usual(unit: float) -> None:
    assert regress(ErrorDetectors(REGRESSION), [unit] * 4000, 1) == []
    spreads = [50 * unit] * 400 + [unit] * 2600 + [2 * unit] * 500 + [8 * unit] * 500
    rows = [row for row, finding in regress(ErrorDetectors(REGRESSION), spreads, 1) if finding.version == "online"]
    assert any(3000 <= row < 3300 for row in rows), "an untaught start does not blind it"
    assert any(3500 <= row < 3700 for row in rows), "nor does an alarm"
    assert min(rows) >= 3000


def test_a_perfect_regression_does_not_fire() -> None:
    assert regress(ErrorDetectors(REGRESSION), [0.0] * 1500, 1) == []


@pytest.mark.parametrize("cut", [0, 400, 1600, 1750])
def test_a_pickle_goes_on_alike(cut: int) -> None:
    rates = [0.1] * 1600 + [0.5] * 400
    whole, first = ErrorDetectors(BINARY), ErrorDetectors(BINARY)
    draw, fired, expected = random.Random(3), [], []
    for i, rate in enumerate(rates):
        if i == cut:
            first = pickles.loads(pickles.dumps(first))
        wrong = draw.random() < rate
        expected += whole.update(example(i, wrong), 0.2)
        fired += first.update(example(i, wrong), 0.2)
        assert first.look() == whole.look()
    assert expected
    assert fired == expected


def test_memory_is_bounded() -> None:
    detectors = ErrorDetectors(BINARY)
    run(detectors, [0.2] * 5000)
    size = len(pickle.dumps(detectors))
    run(detectors, [0.2] * 5000, seed=2)
    assert len(pickle.dumps(detectors)) < size * 1.1


def test_the_split_is_where_the_means_part() -> None:
    rng = np.random.default_rng(1)
    errors = np.concatenate((rng.random(300) < 0.1, rng.random(60) < 0.7)).astype(float)
    assert _split(errors, 5) == pytest.approx(300, abs=6)
    assert 0 < _split(np.array([0.0, 1.0]), 5) < 2


def test_p_values_of_samples_that_do_not_vary() -> None:
    low, high = _Sample(10, 0.0, 0.0), _Sample(10, 1.0, 0.0)
    assert (rise_p_value(low, high), rise_p_value(high, low), rise_p_value(low, low)) == (0.0, 1.0, 1.0)


def test_delta_is_the_specs() -> None:
    eager = Pipeline(
        name="p",
        task="binary",
        target="y",
        classes=("0", "1"),
        features=(Numeric("x"),),
        drift=DriftPolicy(adwin_delta=0.5),
    )
    assert sum(len(run(ErrorDetectors(eager), [0.3] * 3000, seed)) for seed in range(5)) > 0, "default: none (above)"
