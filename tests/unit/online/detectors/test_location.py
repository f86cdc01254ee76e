"""The test of where a number lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import ttest_ind

from online.detectors.base import Batch
from online.detectors.location import Location
from online.detectors.numeric import KolmogorovSmirnov
from online.detectors.significance import LOCATION_SHARE
from online.policy.budget import kind_level
from penstock.events import Finding
from penstock.spec import Categorical, DriftPolicy, Numeric, Pipeline

FLOOR = LOCATION_SHARE * DriftPolicy().effect_floor


def pipeline(features: int = 1, **policy: object) -> Pipeline:
    drift = DriftPolicy(**policy)  # type: ignore[arg-type]
    names = tuple(Numeric(f"x{i}") for i in range(features))
    return Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=names, drift=drift)


class Watched:
    """The test with the KS detector that tells it how dependent records are, as in the monitor."""

    def __init__(self, spec: Pipeline) -> None:
        self.numbers = KolmogorovSmirnov(spec)
        self.location = Location(spec, self.numbers.dependence)

    def update(self, batch: Batch) -> list[Finding]:
        self.numbers.update(batch)
        return self.location.update(batch)

    def turn(self) -> None:
        self.numbers.turn()
        self.location.turn()

    def state(self) -> tuple[bytes, bytes]:
        return self.numbers.state(), self.location.state()

    def restore(self, state: tuple[bytes, bytes]) -> None:
        self.numbers.restore(state[0])
        self.location.restore(state[1])


def feed(detector: Watched, table: np.ndarray, look: int = 100, start: int = 0) -> list[list[Finding]]:
    rows = [{f"x{j}": None if np.isnan(v) else float(v) for j, v in enumerate(row)} for row in table]
    return [
        detector.update(Batch(range(start + i, start + i + len(rows[i : i + look])), rows[i : i + look]))
        for i in range(0, len(rows), look)
    ]


def alarms(looks: list[list[Finding]], spec: Pipeline, floor: float = FLOOR) -> list[int]:
    level = kind_level(spec, "covariate")
    return [i for i, found in enumerate(looks) for one in found if one.p_value <= level and one.effect >= floor]


def test_a_shift_by_a_quarter_of_a_standard_deviation_is_found_within_a_window() -> None:
    spec, rng = pipeline(10), np.random.default_rng(1)
    table = rng.normal(size=(5500, 10))
    table[4000:, 3] += 0.25
    looks = feed(Watched(spec), table)
    found = alarms(looks, spec)
    assert 42 <= found[0] < 50
    finding = next(one for one in looks[found[0]] if one.effect >= FLOOR and one.since_event_time_ms is not None)
    assert (finding.kind, finding.detector, finding.feature) == ("covariate", "location", "x3")
    assert finding.since_event_time_ms == pytest.approx(4000, abs=200)
    assert finding.effect == pytest.approx(2 * ndtr(abs(finding.statistic) / 2) - 1)
    assert finding.histogram is not None


def test_outliers_move_nothing_and_a_shift_in_heavy_tails_is_found() -> None:
    spec, rng = pipeline(2), np.random.default_rng(2)
    table = rng.standard_cauchy(size=(6000, 2))
    table[4000:4010, 0] = 1e150
    table[4000:, 1] += 1.0
    looks = feed(Watched(spec), table)
    level = kind_level(spec, "covariate")
    moved = {one.feature for found in looks for one in found if one.p_value <= level and one.effect >= FLOOR}
    assert moved == {"x1"}


def test_slow_waves_are_not_taken_for_independent_records() -> None:
    """A wave of 700 records would be an alarm at every look, were they independent."""
    spec = pipeline()
    wave = np.sin(np.arange(12_000) * 2 * np.pi / 700)[:, None] + np.random.default_rng(3).normal(size=(12_000, 1))
    looks = feed(Watched(spec), wave)
    assert alarms(looks[60:], spec) == []


def test_the_whole_window_is_welchs_test_of_what_came_before() -> None:
    values = np.random.default_rng(4).normal(size=3000)
    (finding,) = feed(Watched(pipeline()), values[:, None])[-1]
    low, centre, high = np.quantile(values[:1000], (0.25, 0.5, 0.75))
    scaled = np.clip((values - centre) / ((high - low) / 1.349), -3, 3)
    split = 3000 - finding.n_current
    expected = ttest_ind(scaled[split:], scaled[:split], equal_var=False)
    assert finding.p_value == pytest.approx(expected.pvalue, rel=0.05)
    assert finding.statistic == pytest.approx((scaled[split:].mean() - scaled[:split].mean()) / scaled[:split].std())


def test_what_lasts_becomes_the_reference() -> None:
    spec, rng = pipeline(), np.random.default_rng(5)
    table = rng.normal(size=(9000, 1))
    table[3000:] += 2.0
    found = alarms(feed(Watched(spec), table), spec)
    assert found[0] < 34
    assert found[-1] < 60


def test_a_restored_state_and_any_cut_of_the_input_go_on_alike() -> None:
    rng = np.random.default_rng(6)
    table = rng.normal(size=(4000, 3))
    table[rng.random((4000, 3)) < 0.1] = np.nan
    table[2500:, 1] += 1.0
    spec = pipeline(3)
    whole, other = Watched(spec), Watched(spec)
    feed(whole, table[:2730], 91)
    other.restore(whole.state())
    assert feed(whole, table[2730:], 127, 2730) == feed(other, table[2730:], 127, 2730)
    assert whole.state() == other.state()


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, float("nan"), 1e150, -1e150]), min_size=300, max_size=400),
    st.integers(20, 200),
    st.sampled_from([60, 100]),
)
def test_whatever_comes_findings_are_finite(values, look, window) -> None:
    detector = Watched(pipeline(window=window, reference=80))
    for found in feed(detector, np.array(values)[:, None], look):
        for one in found:
            assert np.isfinite((one.statistic, one.p_value, one.effect)).all()
            assert 0.0 <= one.p_value <= 1.0
            assert 0.0 <= one.effect <= 1.0


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_constant_and_missing_features_have_no_finding(value: float) -> None:
    assert not any(feed(Watched(pipeline()), np.full((3000, 1), value)))


def test_without_numbers_there_is_nothing_to_say() -> None:
    spec = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(Categorical("c"),))
    assert Watched(spec).update(Batch([0], [{"c": "a"}])) == []


def test_after_a_turn_the_window_is_the_reference() -> None:
    detector, rng = Watched(pipeline(reference_mode="sliding")), np.random.default_rng(7)
    feed(detector, np.concatenate((rng.normal(size=(1000, 1)), rng.normal(2.0, 1.0, size=(1000, 1)))))
    detector.turn()
    (finding,) = feed(detector, rng.normal(2.0, 1.0, size=(500, 1)), 500, 2000)[-1]
    assert finding.p_value > 1e-4
    assert abs(finding.statistic) < 0.2
