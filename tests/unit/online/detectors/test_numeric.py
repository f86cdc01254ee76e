"""The KS detector against SciPy, and its windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from online.detectors.base import Batch
from online.detectors.dependence import SUSPECT
from online.detectors.kolmogorov import ks_p_value
from online.detectors.numeric import BARS, KolmogorovSmirnov
from penstock.events import Finding
from penstock.spec import DriftPolicy, Numeric, Pipeline


def pipeline(features: int = 1, window: int = 100, reference: int = 100, **policy: int) -> Pipeline:
    return Pipeline(
        name="p",
        task="binary",
        target="y",
        classes=("0", "1"),
        features=tuple(Numeric(f"x{i}") for i in range(features)),
        drift=DriftPolicy(window=window, reference=reference, **policy),
    )


def batch(rows: np.ndarray, start: int = 0) -> Batch:
    table = [{f"x{i}": None if np.isnan(v) else float(v) for i, v in enumerate(row)} for row in rows]
    return Batch([start + i for i in range(len(rows))], table)


def feed(detector: KolmogorovSmirnov, rows: np.ndarray, look: int = 100) -> list[list[Finding]]:
    return [detector.update(batch(rows[i : i + look], i)) for i in range(0, len(rows), look)]


TIED = st.sampled_from([0.0, -0.0, 1.0, 1.5, -3.0, 1e-300, 1e150, -1e150])
ANY = st.floats(-1e150, 1e150, allow_nan=False)
VALUE = st.one_of(TIED, ANY)
MAYBE = st.one_of(VALUE, VALUE, VALUE, st.just(float("nan")))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(MAYBE, min_size=70, max_size=70),
    st.lists(MAYBE, min_size=50, max_size=160),
    st.integers(1, 60),
)
def test_statistic_and_p_value_are_scipys(reference, later, look) -> None:
    detector = KolmogorovSmirnov(pipeline(window=80, reference=70))
    rows = np.array(reference + later)[:, None]
    held = np.array(reference)[~np.isnan(reference)]
    for start in range(0, len(rows), look):
        findings = detector.update(batch(rows[start : start + look], start))
        window = rows[70 : start + look, 0][-80:]
        current = window[~np.isnan(window)]
        if len(window) < 50 or min(len(held), len(current)) < 50:
            continue
        (finding,) = findings
        truth = ks_2samp(held, current, method="asymp")
        assert finding.statistic == pytest.approx(truth.statistic, abs=1e-12)
        if truth.pvalue > SUSPECT:  # below, dependence and deciles count
            assert finding.p_value == pytest.approx(truth.pvalue, abs=1e-6) or finding.p_value < SUSPECT
        assert ks_p_value(finding.statistic, len(held), len(current)) == pytest.approx(truth.pvalue, abs=1e-6)
        assert (finding.n_reference, finding.n_current) == (len(held), len(current))


def test_p_values_of_every_size_are_scipys() -> None:
    rng = np.random.default_rng(3)
    for n, m in ((50, 1000), (1000, 1000), (333, 777)):
        for shift in (0.0, 0.1, 0.5, 3.0):
            a, b = rng.normal(size=n), rng.normal(shift, size=m)
            truth = ks_2samp(a, b, method="asymp")
            assert ks_p_value(float(truth.statistic), n, m) == pytest.approx(truth.pvalue, abs=1e-6)


def test_all_features_at_once_equal_each_alone() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(400, 5))
    rows[rng.random((400, 5)) < 0.1] = np.nan
    together = feed(KolmogorovSmirnov(pipeline(5)), rows)[-1]
    for i, finding in enumerate(together):
        alone = feed(KolmogorovSmirnov(pipeline(1)), rows[:, i : i + 1])[-1][0]
        assert (finding.feature, finding.statistic, finding.p_value) == (f"x{i}", alone.statistic, alone.p_value)


def test_a_shift_is_significant_dated_and_drawn() -> None:
    rng = np.random.default_rng(2)
    rows = np.concatenate((rng.normal(size=(1600, 1)), rng.normal(1.0, size=(400, 1))))
    findings = feed(KolmogorovSmirnov(pipeline(window=500, reference=500)), rows)
    quiet, found = findings[15][0], findings[-1][0]
    assert quiet.histogram is None
    assert quiet.since_event_time_ms is None
    assert found.p_value < 1e-6
    assert found.since_event_time_ms == pytest.approx(1600, abs=40)
    assert found.histogram is not None
    assert sum(found.histogram.reference) == sum(found.histogram.current) == 500
    assert len(found.histogram.edges or []) == BARS + 1
    assert (found.reference_mean or 0) < (found.current_mean or 0)


def test_a_strong_change_is_seen_in_the_newest_quarter_first() -> None:
    rng = np.random.default_rng(2)
    rows = np.concatenate((rng.normal(size=(2300, 1)), rng.normal(0.7, 1, size=(200, 1))))
    found = feed(KolmogorovSmirnov(pipeline(window=1000, reference=1000)), rows)[-1][0]
    truth = ks_2samp(rows[:1000, 0], rows[-250:, 0], method="asymp")
    assert found.n_current == 250
    assert found.statistic == pytest.approx(truth.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(truth.pvalue, abs=1e-12)
    assert found.since_event_time_ms == pytest.approx(2300, abs=60)
    assert found.histogram is not None
    assert sum(found.histogram.current) == 250


def test_every_finding_has_the_stability_index_and_a_significant_one_all_distances() -> None:
    rng = np.random.default_rng(2)
    rows = np.concatenate((rng.normal(size=(2000, 1)), rng.normal(1.0, size=(1000, 1))))
    found = [
        finding for (finding,) in filter(None, feed(KolmogorovSmirnov(pipeline(window=1000, reference=1000)), rows))
    ]
    assert all(finding.measures["psi"] >= 0.0 for finding in found)
    assert found[5].measures.keys() == {"psi"}
    assert found[5].measures["psi"] < 0.1
    last = found[-1].measures
    assert last["psi"] > 0.25
    reference, current = rows[:1000, 0], rows[-1000:, 0]
    assert last["wasserstein"] == pytest.approx(wasserstein_distance(reference, current) / reference.std())
    edges = np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf")
    shares = [np.bincount(np.searchsorted(edges, side, "left"), minlength=10) / 1000 for side in (reference, current)]
    assert last["jensen_shannon"] == pytest.approx(jensenshannon(*shares, base=2))


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_a_look_at_every_event_is_scipys(missing: float, decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    rows = rng.normal(size=(260, 2)).round(decimals)
    rows[100:][rng.random((160, 2)) < missing] = np.nan
    detector = KolmogorovSmirnov(pipeline(2, window=80, reference=100, look_every=1))
    looks = 0
    for i in range(len(rows)):
        for finding in detector.update(batch(rows[i : i + 1], i)):
            f = ["x0", "x1"].index(finding.feature or "")
            current = rows[100 : i + 1, f][-80:]
            current = current[~np.isnan(current)]
            truth = ks_2samp(rows[:100, f], current, method="asymp").statistic
            assert finding.statistic == pytest.approx(truth, abs=1e-12)
            looks += 1
    assert looks > 150


def test_a_constant_column_never_differs_from_itself() -> None:
    (finding,) = feed(KolmogorovSmirnov(pipeline()), np.full((300, 1), 7.0))[-1]
    assert (finding.statistic, finding.p_value) == (0.0, 1.0)


def test_a_constant_column_that_changes_is_found() -> None:
    rows = np.concatenate((np.full((100, 1), 1e150), np.full((100, 1), -1e150)))
    (finding,) = feed(KolmogorovSmirnov(pipeline()), rows)[-1]
    assert finding.statistic == 1.0
    assert finding.histogram is not None
    assert np.isfinite(finding.histogram.edges or [np.nan]).all()


def test_too_few_values_give_no_finding() -> None:
    rows = np.full((300, 1), np.nan)
    rows[::10] = 1.0
    assert feed(KolmogorovSmirnov(pipeline()), rows) == [[], [], []]


def test_a_feature_that_was_missing_at_first_gets_its_reference_later() -> None:
    rng = np.random.default_rng(5)
    rows = np.concatenate((np.full((100, 1), np.nan), rng.normal(size=(200, 1)), rng.normal(4, 1, size=(100, 1))))
    assert feed(KolmogorovSmirnov(pipeline()), rows)[-1][0].statistic > 0.9


def test_what_lasts_is_the_new_normal() -> None:
    rng = np.random.default_rng(4)
    rows = np.concatenate((rng.normal(size=(200, 1)), rng.normal(3, 1, size=(600, 1)), rng.normal(6, 1, size=(100, 1))))
    statistics = [found[0].statistic for found in feed(KolmogorovSmirnov(pipeline()), rows) if found]
    assert min(statistics[1:4]) > 0.8, "alarmed for two windows"
    assert max(statistics[4:-1]) < 0.3, "then the reference is renewed"
    assert statistics[-1] > 0.8, "so that the next change is found"


def test_reset_takes_a_new_reference() -> None:
    rng = np.random.default_rng(4)
    detector = KolmogorovSmirnov(pipeline())
    feed(detector, rng.normal(size=(200, 1)))
    detector.reset()
    assert feed(detector, rng.normal(9, 1, size=(200, 1)))[-1][0].statistic < 0.4


def test_state_and_restore_anywhere() -> None:
    rng = np.random.default_rng(6)
    rows = np.concatenate((rng.normal(size=(300, 3)), rng.normal(2, 1, size=(500, 3))))
    rows[rng.random(rows.shape) < 0.05] = np.nan
    whole = feed(KolmogorovSmirnov(pipeline(3)), rows, 50)
    for cut in (0, 1, 3, 7, 12):
        first, second = KolmogorovSmirnov(pipeline(3)), KolmogorovSmirnov(pipeline(3))
        found = feed(first, rows[: cut * 50], 50)
        second.restore(first.state())
        found += [second.update(batch(rows[i : i + 50], i)) for i in range(cut * 50, len(rows), 50)]
        assert found == whole


def test_no_numeric_feature_is_no_finding() -> None:
    empty = KolmogorovSmirnov(
        Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(pipeline().features[0],))
    )
    assert empty.update(Batch([], [])) == []
