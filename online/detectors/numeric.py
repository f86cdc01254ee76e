"""Two-sample Kolmogorov-Smirnov test of every numeric feature, vectorised over the features."""

from __future__ import annotations

from functools import lru_cache
from math import exp
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.stats import kstwo

from online.detectors.base import Batch
from online.detectors.significance import numeric_features, signal_count, significance_level
from online.detectors.windows import (
    MIN_VALUES,
    SHORT,
    AlarmAges,
    FloatArray,
    IntArray,
    Packed,
    onset,
    pack,
    unpack_floats,
    unpack_integers,
)
from penstock.events import Finding, Histogram
from penstock.spec import DriftPolicy, Pipeline

#: Bars of the histograms in findings; the outer two take in what lies beyond the 1 % and 99 % quantiles.
BARS = 12
#: How many times the level a p-value's limit must be to be far above it.
FAR = 100


@lru_cache(maxsize=65_536)
def ks_p_value(statistic: float, n: int, m: int) -> float:
    """The chance of a KS statistic of at least ``statistic`` between samples of n and m values without drift.

    Asymptotic, as SciPy's ``ks_2samp(method="asymp")``: the one-sample distribution at round(n m / (n + m)) values.
    Cached: statistics are multiples of 1 / (n m), and the tail takes a quarter of a millisecond to compute.
    """
    return float(np.clip(kstwo.sf(statistic, np.round(n * m / (n + m))), 0.0, 1.0))


class _Cells:
    """One feature's reference as cells of the number line: each distinct value, and each gap between two of them.

    With u distinct values cell 2 i + 1 is value i and cell 2 i the gap before it (0 ≤ i ≤ u). ``until[c]`` is how many
    reference values lie in the cells 0 … c. Both distribution functions can differ most only at the end of a cell.
    """

    __slots__ = ("n", "points", "until")

    def __init__(self, values: FloatArray, width: int) -> None:
        self.points, counts = np.unique(values, return_counts=True)
        self.n = len(values)
        per_cell = np.zeros(width, dtype=np.int64)
        per_cell[1 : 2 * len(counts) : 2] = counts
        self.until = np.cumsum(per_cell)

    def place(self, values: FloatArray) -> IntArray:
        """The cell of each value; -1 for NaN."""
        before = np.searchsorted(self.points, values)
        cells = 2 * before.astype(np.int64)
        inside = before < len(self.points)
        cells[inside] += self.points[before[inside]] == values[inside]
        cells[np.isnan(values)] = -1
        return cells


class _Distance(NamedTuple):
    """A KS statistic, where it is reached, and the size of the sample in values and in records."""

    statistic: float
    cell: int
    n: int
    records: int


class _State(msgspec.Struct, array_like=True):
    reference: list[Packed]
    filled: int
    values: Packed
    times: Packed
    ages: tuple[Packed, Packed]


class KolmogorovSmirnov:
    """KS statistic of each numeric feature's sliding window against its reference window.

    D = sup |F_reference − F_current| (Smirnov 1939), exact with ties; p-value by `ks_p_value`. ``effect`` is D itself.
    The newest quarter of the window is compared too, and is the finding where it is significant and the whole is not:
    a strong change is seen there twice as soon. Missing values are left out; a feature with fewer than 50 values on
    a side has no finding. A value costs one binary search when it comes; a look costs one pass over the window and
    one over the reference cells, without sorting.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._names = [feature.name for feature in numeric_features(pipeline)]
        self._window = pipeline.drift.window
        self._reference_size = pipeline.drift.reference
        self._width = 2 * max(self._window, self._reference_size) + 1
        default = DriftPolicy(look_every=pipeline.drift.look_every)
        self._level, self._floor = significance_level(default, signal_count(pipeline)), default.effect_floor
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next records are the reference."""
        features = len(self._names)
        self._reference: list[FloatArray] = [np.empty(0)] * features
        self._filled = 0
        self._cells: list[_Cells] = []
        self._values = np.empty((0, features))
        self._placed = np.empty((0, features), dtype=np.int64)
        self._times = np.empty(0, dtype=np.int64)
        self._ages = AlarmAges(features, self._window)

    def update(self, batch: Batch) -> list[Finding]:
        """Take ``batch``; one finding per numeric feature once there is enough to compare."""
        if not self._names or not batch.rows:
            return []
        values = np.array([[row[name] for name in self._names] for row in batch.rows], dtype=np.float64)
        take = min(len(values), self._reference_size - self._filled)
        if take:
            self._fill(values[:take])
        self._slide(values[take:], np.array(batch.times[take:], dtype=np.int64))
        return self._look(len(batch.rows))

    def _fill(self, values: FloatArray) -> None:
        columns = zip(self._reference, values.T, strict=True)
        self._reference = [np.concatenate((held, column[~np.isnan(column)])) for held, column in columns]
        self._filled += len(values)
        if self._filled == self._reference_size:
            self._cells = [_Cells(held, self._width) for held in self._reference]

    def _slide(self, values: FloatArray, times: IntArray) -> None:
        if not len(values):
            return
        placed = np.column_stack([cells.place(values[:, f]) for f, cells in enumerate(self._cells)])
        self._values = np.concatenate((self._values, values))[-self._window :]
        self._placed = np.concatenate((self._placed, placed))[-self._window :]
        self._times = np.concatenate((self._times, times))[-self._window :]

    def _look(self, records: int) -> list[Finding]:
        if len(self._times) < MIN_VALUES:
            return []
        recent = min(self._window // SHORT, len(self._times))
        views = [self._compare(self._placed), self._compare(self._placed[-recent:])]
        findings: list[Finding] = []
        significant = np.zeros(len(self._names), dtype=np.bool_)
        for f, cells in enumerate(self._cells):
            if cells.n < MIN_VALUES:
                if len(self._times) == self._window:
                    self._renew(f)  # its first records were missing: compare with what came instead
                continue
            found, newest = (view[f] for view in views)
            if found.n < MIN_VALUES:
                continue
            p_value = ks_p_value(found.statistic, cells.n, found.n)
            significant[f] = self._significant(found, p_value)
            if not significant[f] and self._may_be_significant(newest, cells.n):
                sooner = ks_p_value(newest.statistic, cells.n, newest.n)
                if self._significant(newest, sooner):
                    found, p_value, significant[f] = newest, sooner, True
            findings.append(self._finding(f, found, p_value, bool(significant[f])))
        for f in self._ages.update(significant, records):
            self._renew(int(f))
        return findings

    def _compare(self, placed: IntArray) -> list[_Distance]:
        """The distance of ``placed`` (records × features, cells) from the reference, feature by feature."""
        features, width = len(self._names), self._width
        counts = np.bincount(
            (placed + 1 + np.arange(features) * (width + 1)).ravel(), minlength=features * (width + 1)
        ).reshape(features, width + 1)[:, 1:]
        until = np.cumsum(counts, axis=1, dtype=np.int64)
        n_current = until[:, -1]
        n_reference = np.array([cells.n for cells in self._cells], dtype=np.int64)
        reference_until = np.stack([cells.until for cells in self._cells])
        apart = np.abs(until * n_reference[:, None] - reference_until * n_current[:, None])
        widest = np.argmax(apart, axis=1)
        distances = []
        for f, cell in enumerate(widest.tolist()):
            n, m = int(n_reference[f]), int(n_current[f])
            statistic = int(apart[f, cell]) / max(1, n * m)
            distances.append(_Distance(statistic, cell, m, len(placed)))
        return distances

    def _significant(self, found: _Distance, p_value: float) -> bool:
        return p_value <= self._level and found.statistic >= self._floor

    def _may_be_significant(self, found: _Distance, n: int) -> bool:
        """Spares the p-value where its limit, 2 exp(-2 n m / (n + m) D²), is far above the level."""
        if found.n < MIN_VALUES or found.statistic < self._floor:
            return False
        return 2 * exp(-2 * n * found.n / (n + found.n) * found.statistic**2) <= FAR * self._level

    def _finding(self, f: int, found: _Distance, p_value: float, significant: bool) -> Finding:
        present = ~np.isnan(self._values[:, f])
        cells, reference = self._cells[f], self._reference[f]
        newest = self._values[-found.records :, f]
        current = newest[~np.isnan(newest)]
        since = None
        if significant:
            begin = onset(self._placed[present, f] <= found.cell, int(cells.until[found.cell]) / cells.n)
            since = int(self._times[present][begin])
        return Finding(
            detector="ks",
            kind="covariate",
            feature=self._names[f],
            statistic=found.statistic,
            effect=found.statistic,
            p_value=p_value,
            n_reference=len(reference),
            n_current=len(current),
            since_event_time_ms=since,
            reference_mean=float(reference.mean()),
            current_mean=float(current.mean()),
            histogram=_histogram(reference, current) if significant else None,
        )

    def _renew(self, f: int) -> None:
        column = self._values[:, f]
        self._reference[f] = column[~np.isnan(column)]
        self._cells[f] = _Cells(self._reference[f], self._width)
        self._placed[:, f] = self._cells[f].place(column)

    def state(self) -> bytes:
        """References, window and alarm ages; cells are rebuilt from them."""
        return msgspec.msgpack.encode(
            _State(
                [pack(held) for held in self._reference],
                self._filled,
                pack(self._values),
                pack(self._times),
                self._ages.pack(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._reference = [unpack_floats(packed) for packed in held.reference]
        self._filled = held.filled
        self._values, self._times = unpack_floats(held.values), unpack_integers(held.times)
        self._ages.unpack(held.ages)
        if self._filled == self._reference_size:
            self._cells = [_Cells(reference, self._width) for reference in self._reference]
        placed = [cells.place(self._values[:, f]) for f, cells in enumerate(self._cells)]
        self._placed = np.column_stack(placed) if placed else np.empty(self._values.shape, dtype=np.int64)


def _histogram(reference: FloatArray, current: FloatArray) -> Histogram:
    """Both samples over `BARS` equal bars between the outer quantiles; values beyond are counted in the outer bars."""
    both = np.concatenate((reference, current))
    low, high = (float(edge) for edge in np.quantile(both, (0.01, 0.99), method="nearest"))
    if low == high:
        low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high, BARS + 1)
    inner = edges[1:-1]
    return Histogram(
        reference=np.bincount(np.searchsorted(inner, reference, side="right"), minlength=BARS).tolist(),
        current=np.bincount(np.searchsorted(inner, current, side="right"), minlength=BARS).tolist(),
        edges=edges.tolist(),
    )
