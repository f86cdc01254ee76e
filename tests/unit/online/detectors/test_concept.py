"""Rises of the error: what fires, what it says, and what it forgets."""

from __future__ import annotations

import math
import pickle
import random
from dataclasses import replace
from typing import get_args

import pytest

from online.detectors.concept import BELIEVED, WARM_UP, ErrorDetectors
from penstock.errors import SpecError
from penstock.events import Example, Finding, Prediction
from penstock.models import pickles
from penstock.spec import DriftPolicy, ErrorDetector, Numeric, Pipeline

ALL = get_args(ErrorDetector)
ONE = DriftPolicy(error_detectors=("likelihood_ratio",))
BINARY = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),), drift=ONE)
REGRESSION = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),), drift=ONE)


def with_detectors(pipeline: Pipeline, *names: ErrorDetector, delta: float = 0.002) -> Pipeline:
    return replace(pipeline, drift=DriftPolicy(error_detectors=names, deciding=names, adwin_delta=delta))


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
    for i in range(1000, 1010):
        detectors.update(example(i, True, generation=1), 0.1)
    champion, online = detectors.look()
    assert (champion.version, champion.n_current, champion.current_mean) == ("champion", 10, 1.0)
    assert (online.version, online.n_current) == ("online", 1000)


def test_the_online_score_is_judged_by_the_pipelines_threshold() -> None:
    pipeline = Pipeline(
        name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),), threshold=0.3, drift=ONE
    )
    detectors = ErrorDetectors(pipeline)
    for i in range(10):
        detectors.update(example(i, False), 0.35)
    assert [finding.current_mean for finding in detectors.look()] == [0.0, 1.0]


def test_multiclass_takes_the_likeliest_class() -> None:
    pipeline = Pipeline(
        name="p", task="multiclass", target="y", classes=("0", "1", "2"), features=(Numeric("x"),), drift=ONE
    )
    detectors = ErrorDetectors(pipeline)
    for i in range(10):
        detectors.update(example(i, False), {"0": 0.2, "1": 0.5, "2": 0.3})
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


def test_delta_is_the_specs() -> None:
    eager, usual = (with_detectors(BINARY, "adwin", delta=delta) for delta in (0.01, 1e-6))
    rates = [0.2] * 2000 + [0.4] * 500
    delays = [run(ErrorDetectors(pipeline), rates, seed=2)[0][0] for pipeline in (eager, usual)]
    assert delays[0] < delays[1]


@pytest.mark.parametrize("name", ALL)
def test_every_detector_finds_a_great_rise_and_dates_it(name: ErrorDetector) -> None:
    fired = run(ErrorDetectors(with_detectors(BINARY, name)), [0.1] * 1500 + [0.6] * 400)
    assert {(finding.detector, finding.kind, finding.version) for _, finding in fired} == {
        (name, "concept", "champion"),
        (name, "concept", "online"),
    }
    row, finding = fired[0]
    assert 1500 <= row < 1800
    assert finding.since_event_time_ms == pytest.approx(15_000, abs=300)
    assert finding.p_value <= (1e-2 if name == "likelihood_ratio" else BELIEVED)


@pytest.mark.parametrize("name", [name for name in ALL if name != "eddm"])
def test_no_detector_fires_without_a_change(name: ErrorDetector) -> None:
    detectors = ErrorDetectors(with_detectors(BINARY, name))
    assert [run(detectors, [0.25] * 2500, seed) for seed in range(2)] == [[], []]


def test_detectors_that_do_not_decide_report_and_never_fire() -> None:
    policy = DriftPolicy(error_detectors=("adwin", "likelihood_ratio"), deciding=())
    detectors = ErrorDetectors(replace(BINARY, drift=policy))
    assert run(detectors, [0.1] * 1500 + [0.5] * 300) == []
    looks = detectors.look()
    assert [(finding.detector, finding.version) for finding in looks] == [
        ("adwin", "champion"),
        ("likelihood_ratio", "champion"),
        ("adwin", "online"),
        ("likelihood_ratio", "online"),
    ]
    assert all(finding.effect > 0.3 and finding.p_value < BELIEVED and not finding.fired for finding in looks)


def test_clusters_of_errors_are_no_change() -> None:
    """Errors that come in runs, as a real stream's do, vary more than independent ones; their level is the same."""
    draw, rates = random.Random(1), []
    while len(rates) < 8000:
        rates += [draw.choice((0.02, 0.1, 0.4))] * draw.randrange(20, 90)
    assert run(ErrorDetectors(BINARY), rates) == []
    assert run(ErrorDetectors(BINARY), [*rates, *[0.6] * 300])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("wrong", [True, False])
def test_errors_that_never_vary_are_level(name: ErrorDetector, wrong: bool) -> None:
    detectors = ErrorDetectors(with_detectors(BINARY, name))
    for i in range(1200):
        assert detectors.update(example(i, wrong), 0.9 if wrong else 0.1) == []
    for finding in detectors.look():
        assert (finding.effect, finding.current_mean) == (0.0, float(wrong))


def test_a_stream_is_looked_at_from_its_first_ten_errors_on() -> None:
    detectors = ErrorDetectors(BINARY)
    for i in range(10):
        assert detectors.look() == []
        detectors.update(example(i, True), 0.9)
    assert [(finding.n_current, finding.current_mean) for finding in detectors.look()] == [(10, 1.0), (10, 1.0)]


@pytest.mark.parametrize("name", ALL)
def test_outliers_of_any_size_stay_finite(name: ErrorDetector) -> None:
    detectors, draw = ErrorDetectors(with_detectors(REGRESSION, name)), random.Random(4)
    for i in range(1500):
        value = draw.choice((-1e300, 1e300, 1.7e308)) if draw.random() < 0.05 or i < 10 else draw.gauss(0.0, 1.0)
        prediction = Prediction(
            id="r",
            entity="e",
            event_time_ms=i,
            features={},
            version="v",
            generation=0,
            decision=-1.7e308,
            score=-1.7e308 if i % 7 == 0 else 0.0,
        )
        asked = Example(id="r", prediction=prediction, value=value, label_time_ms=i)
        for finding in (*detectors.update(asked, 0.0), *detectors.look()):
            numbers = (finding.statistic, finding.effect, finding.p_value, finding.reference_mean, finding.current_mean)
            assert all(number is not None and math.isfinite(number) for number in numbers)
            assert 0.0 <= finding.p_value <= 1.0


@pytest.mark.parametrize("name", ALL)
def test_every_detectors_state_is_kept_in_a_pickle(name: ErrorDetector) -> None:
    rates = [0.2] * 1400 + [0.6] * 300
    whole, first = (ErrorDetectors(with_detectors(BINARY, name)) for _ in range(2))
    expected, fired = run(whole, rates), run(first, rates[:1450], 1)
    again = pickles.loads(pickles.dumps(first))
    draw = random.Random(1)
    for i, rate in enumerate(rates):
        wrong = draw.random() < rate
        if i >= 1450:
            fired += [(i, finding) for finding in again.update(example(i, wrong), 0.9 if wrong else 0.1)]
    assert fired == expected
    assert again.look() == whole.look()


@pytest.mark.parametrize(
    "named", [{"deciding": ("ddm",)}, {"error_detectors": ("kswin",)}, {"error_detectors": ("adwin", "adwin")}]
)
def test_unknown_detectors_are_refused(named: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(SpecError, match=next(iter(named))):
        DriftPolicy(**named)  # type: ignore[arg-type]


def test_the_choice_of_detectors_is_part_of_the_state() -> None:
    others = (with_detectors(BINARY, "adwin"), replace(BINARY, drift=replace(ONE, deciding=())))
    assert len({BINARY.state_digest(), *(other.state_digest() for other in others)}) == 3
