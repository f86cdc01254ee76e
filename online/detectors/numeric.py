"""Two-sample Kolmogorov-Smirnov test of every numeric feature, vectorised over the features."""

from __future__ import annotations

from operator import itemgetter

import msgspec
import numpy as np

from online.detectors.base import Batch
from online.detectors.dependence import SUSPECT, Dependence, dependent_ks_p_value
from online.detectors.distances import jensen_shannon, population_stability, wasserstein
from online.detectors.kolmogorov import Counted, References, bins_p_value, ks_p_value
from online.detectors.remembered import PORTION, Remembered, of_ranks
from online.detectors.significance import numeric_features, signal_count, significance_level
from online.detectors.windows import (
    MIN_VALUES,
    SHORT,
    AlarmAges,
    BoolArray,
    FloatArray,
    IntArray,
    Packed,
    SlidingColumns,
    onset,
    pack,
    unpack_floats,
    unpack_integers,
)
from penstock.events import Finding, Histogram
from penstock.spec import DriftPolicy, Pipeline

#: Bars of the histograms in findings; the outer two take in what lies beyond the 1 % and 99 % quantiles.
BARS = 12
#: From this share of the index that counts as unstable on, the deciles are tested too.
TESTED = 0.5
#: The newest quarter is compared when this share of a window has come since it was.
STRIDE = 0.025


class _State(msgspec.Struct, array_like=True):
    reference: list[Packed]
    filled: int
    values: Packed
    times: Packed
    ages: tuple[Packed, Packed]
    waited: int
    left: Packed
    remembered: bytes


class KolmogorovSmirnov:
    """KS statistic of each numeric feature's sliding window against its reference window.

    D = sup |F_reference - F_current| (Smirnov 1939), exact with ties; p-value by `ks_p_value`. ``effect`` is D itself.
    From a population stability index of 0.05 on, χ² over the reference's deciles is tested where D is not significant:
    it sees a change of the spread sooner, and the lesser p-value counts where that is at most 0.01. Small p-values
    allow for the dependence of successive values before the window (`online.detectors.remembered`).
    The newest quarter of the window is compared too, at most once per 1/40 of a window, and is the finding where it is
    significant and the whole is not: a strong change is seen there twice as soon. Missing values are left out; a
    feature with fewer than 50 values on a side has no finding. Every finding has the population stability index over
    the reference's deciles (``psi``); a significant one also ``jensen_shannon`` over the same bins, ``wasserstein`` (in
    standard deviations of the reference), means, a histogram and a date. A value costs one binary search when it
    comes; a look costs one sort of the window.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        #: Of the features that are watched.
        self.names = [feature.name for feature in numeric_features(pipeline)]
        self._of = itemgetter(*self.names) if self.names else None
        self._window = pipeline.drift.window
        self._reference_size = pipeline.drift.reference
        self._quarter = max(1, self._window // SHORT)
        self._stride = max(1, int(STRIDE * self._window))
        default = DriftPolicy(look_every=pipeline.drift.look_every)
        self._mode = pipeline.drift.reference_mode
        self._stable = default.psi_warning
        self._tested = TESTED * self._stable
        self._level, self._floor = significance_level(default, signal_count(pipeline)), default.effect_floor
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next records are the reference."""
        features = len(self.names)
        self._filling: list[FloatArray] = [np.empty(0)] * features
        self._filled = 0
        self._references: References | None = None
        self._values = SlidingColumns(features, self._window, np.float64)
        self._placed = SlidingColumns(features, self._window, np.int64)
        self._whole: Counted | None = None
        self._times = SlidingColumns(1, self._window, np.int64)
        self._ages = AlarmAges(features, self._window, self._mode)
        self._waited = 0
        #: Cells of values that left the window and are not yet remembered, and how many records they are.
        self._left: list[IntArray] = []
        self._leaving = 0
        self._remembered = Remembered(features, of_ranks)

    def dependence(self, name: str) -> Dependence:
        """How dependent the values of feature ``name`` are."""
        return self._remembered.dependence(self.names.index(name))

    def turn(self) -> None:
        """The current window becomes the reference of every feature, and a new one begins."""
        if self._references is None or not len(self._times):
            return
        self._left.append(self._placed.view.copy())
        self._remember(self._references, self._ages.running)
        for f in range(len(self.names)):
            self._renew(self._references, f)
        for series in (self._values, self._placed, self._times):
            series.clear()

    def update(self, batch: Batch) -> list[Finding]:
        """Take ``batch``; one finding per numeric feature once there is enough to compare."""
        if self._of is None or not batch.rows:
            return []
        table = np.array(list(map(self._of, batch.rows)), dtype=np.float64).reshape(len(batch.rows), len(self.names))
        values = np.ascontiguousarray(table.T)
        take = min(len(batch.rows), self._reference_size - self._filled)
        if take:
            self._fill(values[:, :take])
        if self._references is not None and take < len(batch.rows):
            self._slide(self._references, values[:, take:], np.array([batch.times[take:]], dtype=np.int64))
        if self._references is None or len(self._times) < MIN_VALUES:
            return []
        return self._look(self._references, len(batch.rows))

    def _fill(self, values: FloatArray) -> None:
        columns = zip(self._filling, values, strict=True)
        self._filling = [np.concatenate((held, column[~np.isnan(column)])) for held, column in columns]
        self._filled += values.shape[1]
        if self._filled == self._reference_size:
            self._references = self._cells(self._filling)
            for f, sample in enumerate(self._filling):
                self._remembered.add(f, self._references.ranks(f, self._references.place_one(f, sample)))

    def _remember(self, references: References, alarmed: BoolArray) -> None:
        """Remember what left the window."""
        if self._left:
            placed = np.concatenate(self._left, axis=1)
            ranks = [references.ranks(f, column) for f, column in enumerate(placed)]
            self._remembered.take(ranks, alarmed)
            self._left, self._leaving = [], 0

    def _cells(self, samples: list[FloatArray]) -> References:
        return References(samples, max(self._window, self._reference_size))

    def _slide(self, references: References, values: FloatArray, times: IntArray) -> None:
        placed = references.place(values)
        leaving = self._placed.leaving(placed)
        if leaving.shape[1]:
            self._left.append(leaving)
            self._leaving += leaving.shape[1]
            if self._leaving >= PORTION:
                self._remember(references, self._ages.running)
        if self._whole is not None and placed.shape[1] == 1 and len(self._placed) == self._window:
            self._whole.exchange(placed[:, 0].tolist(), self._placed.view[:, 0].tolist())
            self._placed.push(placed)
        else:
            self._placed.push(placed)
            self._whole = None
        self._values.push(values)
        self._times.push(times)

    def _look(self, references: References, records: int) -> list[Finding]:
        if len(self._times) == self._window and references.least < MIN_VALUES:
            for f in np.flatnonzero(references.n < MIN_VALUES).tolist():
                self._renew(references, f)  # its first records were missing: compare with what came instead
        if self._whole is None:
            self._whole = Counted(references, self._placed.view)
        whole, newest = self._whole, self._newest(references, records)
        psi = references.stability(whole).tolist()
        newest_psi = [] if newest is None else references.stability(newest).tolist()
        findings: list[Finding] = []
        significant = np.zeros(len(self.names), dtype=np.bool_)
        rows = zip(self.names, references.n.tolist(), whole.n.tolist(), whole.apart().tolist(), psi, strict=True)
        for f, (name, n, m, apart, stability) in enumerate(rows):
            if n < MIN_VALUES or m < MIN_VALUES:
                continue
            statistic = apart / (n * m)
            p_value = ks_p_value(statistic, n, m)
            if p_value <= SUSPECT or stability >= self._tested:
                p_value = self._careful(references, whole, f, p_value, stability)
            found = Finding(
                detector="ks",
                kind="covariate",
                feature=name,
                statistic=statistic,
                effect=statistic,
                p_value=p_value,
                n_reference=n,
                n_current=m,
                measures={"psi": stability},
            )
            if p_value <= self._level and (statistic >= self._floor or stability >= self._stable):
                found, significant[f] = self._detailed(references, whole, len(self._times), f, found), True
            elif (
                newest is not None and (sooner := self._sooner(references, newest, f, newest_psi[f], found)) is not None
            ):
                found, significant[f] = sooner, True
            findings.append(found)
        due = self._ages.update(significant, records).tolist()
        if due:
            alarmed = self._ages.running
            alarmed[due] = True
            self._remember(references, alarmed)
        for f in due:
            self._remembered.drop(f)
            self._renew(references, f)
        return findings

    def _newest(self, references: References, records: int) -> Counted | None:
        """The newest quarter, where it is due."""
        self._waited += records
        if self._waited < self._stride:
            return None
        self._waited = 0
        return Counted(references, self._placed.view[:, -self._quarter :])

    def _careful(self, references: References, counted: Counted, f: int, p_value: float, stability: float) -> float:
        """``p_value`` of D, allowing for dependence; where the deciles look unstable, theirs if it is small."""
        if p_value <= SUSPECT:
            of, n, m = self._remembered.dependence(f), int(references.n[f]), int(counted.n[f])
            if of.effect > 1.0:
                p_value = max(p_value, dependent_ks_p_value(int(counted.apart()[f]) / (n * m), n, m, of))
        if p_value <= self._level or stability < self._tested:
            return p_value
        before, after = (counts[f] for counts in references.bins(counted))
        of_bins = bins_p_value(before, after, lambda: self._remembered.dependence(f))
        return of_bins if of_bins < min(p_value, SUSPECT) else p_value

    def _sooner(
        self, references: References, newest: Counted, f: int, stability: float, found: Finding
    ) -> Finding | None:
        """The finding of the newest quarter where it is significant."""
        n, m = int(references.n[f]), int(newest.n[f])
        if m < MIN_VALUES:
            return None
        statistic = int(newest.apart()[f]) / (n * m)
        if statistic < self._floor and stability < self._stable:
            return None
        p_value = self._careful(references, newest, f, ks_p_value(statistic, n, m), stability)
        if p_value > self._level:
            return None
        found = msgspec.structs.replace(found, statistic=statistic, effect=statistic, p_value=p_value, n_current=m)
        return self._detailed(references, newest, self._quarter, f, found)

    def _detailed(self, references: References, counted: Counted, records: int, f: int, found: Finding) -> Finding:
        """``found`` in the newest ``records``, with what is costly: when it began, means, histogram, all distances."""
        column = self._values.view[f]
        present = ~np.isnan(column)
        cell = counted.cell(f)
        begin = onset(self._placed.view[f, present] <= cell, int(references.until[f, cell]) / found.n_reference)
        newest = column[-records:]
        reference, current = references.samples[f], newest[~np.isnan(newest)]
        before, after = (counts[f] for counts in references.bins(counted))
        return msgspec.structs.replace(
            found,
            since_event_time_ms=int(self._times.view[0, present][begin]),
            reference_mean=float(reference.mean()),
            current_mean=float(current.mean()),
            histogram=numeric_histogram(reference, current),
            measures={
                "psi": float(population_stability(before, after)),
                "wasserstein": wasserstein(reference, current),
                "jensen_shannon": jensen_shannon(before, after),
            },
        )

    def _renew(self, references: References, f: int) -> None:
        column = self._values.view[f]
        references.replace(f, column[~np.isnan(column)])
        self._placed.view[f] = references.place_one(f, column)
        self._whole = None

    def state(self) -> bytes:
        """References, window, alarm ages, what is remembered, and the records since the newest quarter was compared."""
        held = self._filling if self._references is None else self._references.samples
        return msgspec.msgpack.encode(
            _State(
                [pack(sample) for sample in held],
                self._filled,
                pack(self._values.view),
                pack(self._times.view),
                self._ages.pack(),
                self._waited,
                pack(np.concatenate((np.empty((len(self.names), 0), dtype=np.int64), *self._left), axis=1)),
                self._remembered.state(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self.reset()
        self._filling = [unpack_floats(packed) for packed in held.reference]
        self._filled, self._waited = held.filled, held.waited
        self._ages.unpack(held.ages)
        if self._filled == self._reference_size and self.names:
            self._references = self._cells(self._filling)
            self._slide(self._references, unpack_floats(held.values), unpack_integers(held.times))
        left = unpack_integers(held.left)
        self._left, self._leaving = ([left] if left.shape[1] else []), left.shape[1]
        self._remembered.restore(held.remembered)


def numeric_histogram(reference: FloatArray, current: FloatArray) -> Histogram:
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
