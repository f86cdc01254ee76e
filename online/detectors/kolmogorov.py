"""The two-sample Kolmogorov-Smirnov test: exact statistics of many features at once, and the p-value."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp, pi, sqrt

import numpy as np
from scipy.stats import kstwo

from online.detectors.contingency import chi_square, chi_square_p_value, pooled_cells
from online.detectors.dependence import SUSPECT, Dependence
from online.detectors.distances import SMALL_COUNT, population_stability
from online.detectors.remembered import MISSING, RANKS, Codes
from online.detectors.windows import FloatArray, IntArray

#: From this many values on, and for n d² below the second, the series' error is under 1e-6.
SERIES_LEAST, SERIES_MOST = 300, 2.2
#: Reference deciles: the bins of the population stability index.
DECILES = 10


@lru_cache(maxsize=65_536)
def ks_p_value(statistic: float, n: int, m: int) -> float:
    """The chance of a KS statistic of at least ``statistic`` between samples of n and m values without drift.

    Asymptotic, as SciPy's ``ks_2samp(method="asymp")``: the one-sample distribution at round(n m / (n + m)) values.
    Its body is the series that SciPy sums too, its tail SciPy's own; cached, as that takes a quarter of a millisecond.
    """
    size = max(1, round(n * m / (n + m)))
    if size >= SERIES_LEAST and size * statistic * statistic < SERIES_MOST:
        return min(1.0, max(0.0, 1.0 - _pelz_good(statistic, size)))
    return float(np.clip(kstwo.sf(statistic, size), 0.0, 1.0))


def _pelz_good(statistic: float, n: int) -> float:
    """P(D_n ≤ statistic), to the order n^(-3/2) (Pelz & Good, J. R. Statist. Soc. B 38, 1976), z = d √n < 1.5.

    Terms beyond the fifth are below 1e-18 there.
    """
    z2 = n * statistic * statistic
    if z2 < 0.02:
        return 0.0  # below 1e-24
    z4, z6 = z2 * z2, z2 * z2 * z2
    z8, z = z4 * z4, sqrt(z2)
    k0 = k1 = k2 = k3 = 0.0
    for k in range(5):
        h2 = (pi * (k + 0.5)) ** 2
        weight = exp(-h2 / (2 * z2))
        k0 += weight
        k1 += weight * (h2 - z2)
        k2 += weight * (6 * z6 + 2 * z4 + (2 * z4 - 5 * z2) * h2 + (1 - 2 * z2) * h2 * h2)
        k3 += weight * (
            -30 * z6
            - 90 * z8
            + (135 * z4 - 96 * z6) * h2
            + (212 * z4 - 60 * z2) * h2 * h2
            + (5 - 30 * z2) * h2 * h2 * h2
        )
        full = (pi * (k + 1)) ** 2
        weight = exp(-full / (2 * z2)) * full
        k2 -= 2 * z4 * weight
        k3 += 30 * z4 * (3 * z2 - full) * weight
    series = k0 / z + k1 / (6 * z4 * sqrt(n)) + k2 / (72 * z6 * z * n) + k3 / (6480 * z8 * z2 * n * sqrt(n))
    return sqrt(2 * pi) * series


class References:
    """The reference samples of all features, as cells of the number line: each distinct value and each gap between two.

    With u distinct values cell 2 i + 1 is value i, cell 2 i the gap before it (0 ≤ i ≤ u), and the last cell of a
    feature takes in missing values. ``until[f, c]`` is how many reference values of feature f lie in the cells 0 … c.
    Two distribution functions can differ most only at the end of a cell.
    """

    def __init__(self, samples: list[FloatArray], most: int) -> None:
        features = len(samples)
        self.width = 2 * most + 2
        self.samples = list(samples)
        self.n: IntArray = np.zeros(features, dtype=np.int64)
        #: Products of two counts up to ``most`` fit.
        self.until = np.zeros((features, self.width), dtype=np.int32 if most * most < 2**31 else np.int64)
        self._first = np.arange(0, features * self.width, self.width)[:, None]
        #: The fewest values that a feature has.
        self.least = 0
        self._points = [np.empty(0)] * features
        self._bounds = np.zeros((features, DECILES - 1), dtype=np.int64)
        self._counts = np.zeros((features, DECILES), dtype=np.int64)
        self._shares = np.zeros((features, DECILES))
        self._all_held = False
        for f, sample in enumerate(samples):
            self.replace(f, sample)

    def replace(self, f: int, sample: FloatArray) -> None:
        """Compare feature ``f`` with ``sample`` from now on."""
        values, counts = np.unique(sample, return_counts=True)
        self.samples[f], self.n[f] = sample, len(sample)
        points = np.empty(2 * len(values))
        points[0::2], points[1::2] = values, np.nextafter(values, np.inf)
        self._points[f] = points
        cells = np.zeros(self.width, dtype=np.int64)
        cells[1 : 2 * len(values) : 2] = counts
        self.until[f] = np.cumsum(cells)
        self.least = int(self.n.min())
        self._bounds[f] = self._decile_ends(f)
        self._counts[f] = np.diff(self.until[f, self._bounds[f]], prepend=0, append=len(sample))
        self._shares[f] = (self._counts[f] + SMALL_COUNT) / (len(sample) + SMALL_COUNT * DECILES)
        self._all_held = bool(self._counts.all())

    def _decile_ends(self, f: int) -> IntArray:
        """The last cells of the bins but one: bins end after each decile, and a value of two deciles has its own."""
        ends = np.full(DECILES - 1, self.width - 2)
        if self.n[f]:
            deciles = np.ceil(self.n[f] * np.arange(1, DECILES) / DECILES)
            last = np.searchsorted(self.until[f], deciles)
            own = np.unique(np.concatenate((last, last[1:][last[1:] == last[:-1]] - 1)))
            ends[: len(own)] = own
        return ends

    def place(self, values: FloatArray) -> IntArray:
        """The cell of each value (features × records); NaN is a missing value."""
        cells = np.empty(values.shape, dtype=np.int64)
        for row, points, column in zip(cells, self._points, values, strict=True):
            row[:] = points.searchsorted(column, "right")
        cells[np.isnan(values)] = self.width - 1
        return cells

    def place_one(self, f: int, values: FloatArray) -> IntArray:
        """The same for the values of feature ``f`` alone."""
        cells = self._points[f].searchsorted(values, "right")
        cells[np.isnan(values)] = self.width - 1
        return cells

    def bins(self, counted: Counted) -> tuple[IntArray, IntArray]:
        """Counts over the reference's deciles, of the references and of a window (features × 10); unused are empty."""
        upto = counted.until.take(self._first + self._bounds)
        current = np.empty_like(self._counts)
        current[:, 0], current[:, -1] = upto[:, 0], counted.n - upto[:, -1]
        np.subtract(upto[:, 1:], upto[:, :-1], out=current[:, 1:-1])
        return self._counts, current

    def stability(self, counted: Counted) -> FloatArray:
        """The population stability index of each feature over these bins."""
        reference, current = self.bins(counted)
        if not self._all_held:
            return population_stability(reference, current)
        q = (current + SMALL_COUNT) / (counted.n + SMALL_COUNT * DECILES)[:, None]
        index: FloatArray = np.add.reduce((self._shares - q) * np.log(self._shares / q), axis=1)
        return index

    def ranks(self, f: int, placed: IntArray) -> Codes:
        """The mid-ranks of values of feature ``f`` by their cells, scaled to [-127, 127]; `MISSING` where missing."""
        until, most = self.until[f], self.width - 1
        twice = until[placed] + until[np.maximum(placed - 1, 0)] * (placed > 0)
        ranks = np.rint(RANKS * (twice / max(1, int(self.n[f])) - 1.0))
        return np.where(placed == most, MISSING, ranks).astype(np.int8)


def bins_p_value(reference: IntArray, current: IntArray, dependence: Callable[[], Dependence]) -> float:
    """That of χ² over the bins of a feature, small ones pooled; where it is small it allows for ``dependence``."""
    cells = pooled_cells(reference, current)
    k = int(cells.max()) + 1
    before, after = (np.bincount(cells, counts, k).astype(np.float64) for counts in (reference, current))
    statistic = chi_square(before, after)
    p_value = chi_square_p_value(statistic, k)
    if p_value > SUSPECT:
        return p_value
    of = dependence()
    return of.student(chi_square_p_value(statistic / of.effect, k))


class Counted:
    """How many values of a window lie in the cells up to each (``until``, features × cells), and D from that."""

    def __init__(self, references: References, placed: IntArray) -> None:
        self._references = references
        self._apart: IntArray | None = None
        features, width = references.until.shape
        first = np.arange(0, features * width, width)[:, None]
        counts = np.bincount((placed + first).ravel(), minlength=features * width)
        self.until = np.cumsum(counts.reshape(features, width), axis=1, dtype=references.until.dtype)
        self._scratch = np.empty_like(self.until)

    @property
    def n(self) -> IntArray:
        """How many values are not missing, per feature."""
        return self.until[:, -2]

    def exchange(self, come: list[int], gone: list[int]) -> None:
        """One record came (its cell per feature) and another went: cheaper than to count anew."""
        self._apart = None
        for row, new, old in zip(self.until, come, gone, strict=True):
            if new < old:
                row[new:old] += 1
            elif old < new:
                row[old:new] -= 1

    def apart(self) -> IntArray:
        """Per feature D × n × m, exactly."""
        if self._apart is None:
            self._apart = self._furthest()
        return self._apart

    def cell(self, f: int) -> int:
        """The first cell at whose end the samples of feature ``f`` are that far apart."""
        self.apart()
        return int(np.abs(self._scratch[f, :-1]).argmax())

    def _furthest(self) -> IntArray:
        until, n, m, scratch = self._references.until, self._references.n, self.n, self._scratch
        equal = bool((n == m).all())
        if equal:
            np.subtract(self.until, until, out=scratch)
        else:
            np.multiply(self.until, n[:, None], out=scratch, casting="unsafe")
            scratch -= until * m[:, None]
        within = scratch[:, :-1]
        # Two reductions that only read: absolute values and their argmax would cost three times as much.
        furthest: IntArray = np.maximum(within.max(axis=1), -within.min(axis=1)).astype(np.int64)
        return furthest * n if equal else furthest
