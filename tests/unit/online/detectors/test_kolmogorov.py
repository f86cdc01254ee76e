"""The p-value against SciPy; cells, deciles, and counts that are kept up to date."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, kstwo

from online.detectors.distances import population_stability
from online.detectors.kolmogorov import SERIES_LEAST, SERIES_MOST, Counted, References, ks_p_value
from online.detectors.remembered import MISSING

VALUE = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1.5, 5e-324, 1e150, -1e150]), st.floats(-1e3, 1e3))


@pytest.mark.parametrize("n", [SERIES_LEAST, 301, 400, 500, 1000, 20_000])
def test_the_series_is_scipys_where_it_is_used(n: int) -> None:
    for z2 in [*np.linspace(1e-4, SERIES_MOST, 60), SERIES_MOST - 1e-9]:
        statistic = float(np.sqrt(z2 / n))
        assert ks_p_value(statistic, 2 * n, 2 * n) == pytest.approx(kstwo.sf(statistic, n), abs=1e-6)


@pytest.mark.parametrize(("statistic", "n", "m"), [(0.0, 50, 50), (1.0, 50, 1000), (1.0, 1000, 1000), (0.5, 50, 60)])
def test_the_ends_are_scipys(statistic: float, n: int, m: int) -> None:
    size = round(n * m / (n + m))
    assert ks_p_value(statistic, n, m) == pytest.approx(float(kstwo.sf(statistic, size)), abs=1e-12)


@settings(deadline=None)
@given(st.lists(VALUE, min_size=1, max_size=40), st.lists(VALUE, min_size=1, max_size=40))
def test_the_statistic_is_scipys_with_ties(reference, current) -> None:
    references = References([np.array(reference), np.array(reference[:1])], 40)
    counted = Counted(references, references.place(np.array([current, current])))
    with warnings.catch_warnings(action="ignore"):  # about p-values of tiny samples
        truth = ks_2samp(reference, current, method="exact").statistic
    assert counted.apart()[0] / (len(reference) * len(current)) == pytest.approx(truth, abs=1e-12)


@given(st.lists(st.one_of(VALUE, st.just(float("nan"))), min_size=20, max_size=60))
def test_a_record_in_and_one_out_is_as_if_counted_anew(stream) -> None:
    references = References([np.array([0.0, 1.0, 1.0, 2.5, 1e150])], 10)
    placed = references.place(np.array([stream]))
    counted = Counted(references, placed[:, :10])
    for i in range(10, len(stream)):
        counted.exchange(placed[:, i].tolist(), placed[:, i - 10].tolist())
        anew = Counted(references, placed[:, i - 9 : i + 1])
        assert np.array_equal(counted.until, anew.until)
        assert np.array_equal(counted.apart(), anew.apart())
        assert [counted.cell(f) for f in range(len(counted.n))] == [anew.cell(f) for f in range(len(anew.n))]


def bins(reference: list[float], current: list[float]) -> tuple[list[int], list[int]]:
    references = References([np.array(reference)], 1000)
    counted = Counted(references, references.place(np.array([current])))
    before, after = references.bins(counted)
    return before[0].tolist(), after[0].tolist()


def test_bins_are_the_references_deciles() -> None:
    before, after = bins([float(i) for i in range(1000)], [float(i) for i in range(500)])
    assert before == [100] * 10
    assert after == [100] * 5 + [0] * 5


def test_a_value_that_is_two_deciles_has_a_bin_of_its_own() -> None:
    assert bins([7.0] * 100, [6.0] * 10 + [7.0] * 20 + [8.0] * 30 + [float("nan")] * 5) == (
        [0, 100, 0, 0, 0, 0, 0, 0, 0, 0],
        [10, 20, 30, 0, 0, 0, 0, 0, 0, 0],
    )
    before, after = bins([0.0] * 50 + [float(i) for i in range(1, 51)], [0.0] * 30 + [50.0] * 30)
    assert before == [0, 50, 10, 10, 10, 10, 10, 0, 0, 0]
    assert after == [0, 30, 0, 0, 0, 0, 30, 0, 0, 0]


def test_a_feature_without_values_is_nothing() -> None:
    references = References([np.empty(0)], 10)
    counted = Counted(references, references.place(np.array([[1.0, float("nan")]])))
    assert counted.apart().tolist() == [0]
    assert references.bins(counted)[0].sum() == 0


@given(st.lists(st.integers(0, 30), min_size=20, max_size=80), st.lists(st.integers(0, 30), min_size=1, max_size=80))
def test_stability_is_the_index_over_the_bins(reference: list[int], current: list[int]) -> None:
    references = References([np.array(reference, dtype=np.float64)], 100)
    counted = Counted(references, references.place(np.array([current], dtype=np.float64)))
    index = population_stability(*references.bins(counted))
    assert references.stability(counted) == pytest.approx(index, rel=1e-12, abs=1e-12)


def test_ranks_are_those_of_the_reference_and_survive_one_byte() -> None:
    references = References([np.arange(100.0), np.zeros(100)], 100)
    placed = references.place(np.array([[-1.0, 0.0, 50.0, 99.0, 200.0, np.nan], [0.0, 0.0, 1.0, -1.0, np.nan, 0.0]]))
    assert references.ranks(0, placed[0]).tolist() == [-127, -126, 1, 126, 127, MISSING]
    assert references.ranks(1, placed[1]).tolist() == [0, 0, 127, -127, MISSING, 0]
