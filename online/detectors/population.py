"""Population drift: can a classifier tell the current window from the reference?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import msgspec
import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from online.detectors.base import Batch
from online.detectors.categorical import MISSING_CODE, category_code
from online.detectors.dependence import INDEPENDENT, Dependence
from online.detectors.significance import category_features, numeric_features, signal_count, significance_level
from online.detectors.windows import (
    MIN_VALUES,
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
from penstock.events import Features, Finding
from penstock.spec import DriftPolicy, Pipeline

#: Categories of a feature that have a column, and columns in all.
CATEGORIES, COLUMNS = 8, 384
#: Columns and products that a classifier uses at most: those whose means differ by this many standard errors, and by
#: this share of the greatest such difference.
CHOSEN, LEAST_APART, LEAST_SHARE = 12, 2.5, 0.6
#: Ranks are whole numbers up to this: sums of them are exact, in whatever order a library adds.
RANKS = 127
#: Weight of the ridge, in variances of a column.
RIDGE = 0.1
#: Multiplications that OpenBLAS does on one thread.
ONE_THREAD = 262_144


class _State(msgspec.Struct, array_like=True):
    filled: int
    reference: tuple[Packed, Packed]
    window: tuple[Packed, Packed]
    times: Packed
    since: int
    explained: int
    ages: tuple[Packed, Packed]


class DomainClassifier:
    """A classifier between reference and current window; ``statistic`` is its AUC, ``effect`` 2 (AUC - 0.5) or 0.

    Columns are the ranks of numbers (missing: the middle one) and the 8 commonest categories of each feature, 384 in
    all. Two folds, the even and the odd ones of the quarters of each window, so that neighbouring records mostly share
    a fold: on one the classifier chooses the columns and the products of two columns
    whose means moved most, and fits a ridge regression on them; on the other its AUC is measured. So a change of
    correlation is found that leaves every feature as it was. ``p_value`` is twice the lesser of the two folds'
    one-sided Mann-Whitney p-values (normal approximation without the ties' correction, which errs on the safe side;
    twice, since there are two). Lopez-Paz & Oquab, ICLR 2017. Looked at once per half window of new records: a test
    costs as much as some hundred records.

    ``dependence`` says how dependent each feature is: a fold's scores count as dependent as the most dependent column
    that its classifier uses, a product of two columns as the lesser of the two (the autocorrelation of the product of
    two independent series is the product of theirs).

    What single features do shows here as well, and their mixture in the current window looks like a correlation. So
    after `explain` was told that one moved, ``p_value`` is 1 for a window of records (the effect is reported, no
    incident can open), and the reference is the window then current (but for a fixed one).
    """

    def __init__(self, pipeline: Pipeline, dependence: Callable[[str], Dependence] = lambda _: INDEPENDENT) -> None:
        self._dependence = dependence
        self._numbers = [feature.name for feature in numeric_features(pipeline)]
        self._names = [feature.name for feature in category_features(pipeline)]
        self._window = pipeline.drift.window
        self._reference_size = pipeline.drift.reference
        self._stride = max(1, self._window // 2)
        self._mode = pipeline.drift.reference_mode
        default = DriftPolicy(look_every=pipeline.drift.look_every)
        self._level, self._floor = significance_level(default, signal_count(pipeline)), default.population_floor
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next records are the reference."""
        shape = (len(self._numbers), len(self._names))
        self._reference = SlidingColumns(shape[0], self._reference_size, np.float64)
        self._reference_codes = SlidingColumns(shape[1], self._reference_size, np.int64)
        self._values = SlidingColumns(shape[0], self._window, np.float64)
        self._codes = SlidingColumns(shape[1], self._window, np.int64)
        self._times = SlidingColumns(1, self._window, np.int64)
        self._filled = self._since = self._explained = 0
        self._ages = AlarmAges(1, self._window, self._mode)

    def turn(self) -> None:
        """The current window becomes the reference, and a new one begins."""
        if not len(self._times):
            return
        self._renew()
        for series in (self._values, self._codes, self._times):
            series.clear()
        self._since = 0

    def explain(self, moved: bool, records: int) -> None:
        """Whether a single feature moved at the look that `update` will be asked for, ``records`` after the last."""
        if moved:
            self._explained = self._window + self._stride
        elif self._explained:
            self._explained = max(0, self._explained - records)
            if not self._explained and self._mode != "fixed" and len(self._times) == self._window:
                self._renew()

    def update(self, batch: Batch) -> list[Finding]:
        """Take ``batch``; a finding where both windows are full and half a window has come since the last."""
        if len(self._numbers) + len(self._names) < 2 or not batch.rows:
            return []
        values, codes = self._coded(batch.rows)
        take = min(len(batch.rows), self._reference_size - self._filled)
        self._filled += take
        self._reference.push(values[:, :take])
        self._reference_codes.push(codes[:, :take])
        if take < len(batch.rows):
            self._values.push(values[:, take:])
            self._codes.push(codes[:, take:])
            self._times.push(np.array([batch.times[take:]], dtype=np.int64))
        self._since += len(batch.rows)
        full = len(self._times) == self._window and min(self._window, len(self._reference)) >= 2 * MIN_VALUES
        if not full or self._since < self._stride:
            return []
        records, self._since = self._since, 0
        found = self._look()
        if self._explained:
            found = msgspec.structs.replace(found, p_value=1.0)
        significant = found.p_value <= self._level and found.effect >= self._floor
        if len(self._ages.update(np.array([significant]), records)):
            self._renew()
        return [found if significant else msgspec.structs.replace(found, since_event_time_ms=None)]

    def _coded(self, rows: Sequence[Features]) -> tuple[FloatArray, IntArray]:
        values = np.array([[row[name] for row in rows] for name in self._numbers], dtype=np.float64)
        codes = np.array([[category_code(row[name]) for row in rows] for name in self._names], dtype=np.int64)
        return values.reshape(len(self._numbers), len(rows)), codes.reshape(len(self._names), len(rows))

    def _renew(self) -> None:
        for reference, window in ((self._reference, self._values), (self._reference_codes, self._codes)):
            reference.clear()
            reference.push(window.view)

    def _look(self) -> Finding:
        n = len(self._reference)
        columns, sources = _columns(
            np.concatenate((self._reference.view, self._values.view), axis=1),
            np.concatenate((self._reference_codes.view, self._codes.view), axis=1),
        )
        known = [self._dependence(name) for name in (*self._numbers, *self._names)]
        dependences = [known[source] for source in sources]
        later = np.arange(len(columns)) >= n
        even = np.concatenate((_even_quarters(n), _even_quarters(len(columns) - n)))
        scores = np.zeros(len(columns))
        tested = []
        for fold in (even, ~even):
            scores[fold], of = _scores(columns[~fold], later[~fold], columns[fold], dependences)
            tested.append(_area(scores[fold], later[fold], of))
            scores[fold] -= np.median(scores[fold & ~later])
        area = sum(area for area, _ in tested) / 2
        high = scores > 0
        begin = onset(high[later], float(high[~later].mean()))
        return Finding(
            detector="domain_classifier",
            kind="population",
            statistic=area,
            effect=max(0.0, 2 * (area - 0.5)),
            p_value=min(1.0, 2 * min(p_value for _, p_value in tested)),
            n_reference=n,
            n_current=len(columns) - n,
            since_event_time_ms=int(self._times.view[0, begin]),
        )

    def state(self) -> bytes:
        """Both windows, alarm ages, and the records since the last look."""
        return msgspec.msgpack.encode(
            _State(
                self._filled,
                (pack(self._reference.view), pack(self._reference_codes.view)),
                (pack(self._values.view), pack(self._codes.view)),
                pack(self._times.view),
                self._since,
                self._explained,
                self._ages.pack(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self.reset()
        self._reference.push(unpack_floats(held.reference[0]))
        self._reference_codes.push(unpack_integers(held.reference[1]))
        self._values.push(unpack_floats(held.window[0]))
        self._codes.push(unpack_integers(held.window[1]))
        self._times.push(unpack_integers(held.times))
        self._filled, self._since, self._explained = held.filled, held.since, held.explained
        self._ages.unpack(held.ages)


def _even_quarters(records: int) -> BoolArray:
    return np.asarray(np.arange(records) * 4 // max(1, records) % 2 == 0)


def _columns(values: FloatArray, codes: IntArray) -> tuple[FloatArray, list[int]]:
    """Whole numbers, records × columns: scaled ranks of ``values``, then 1 for each record of a common category.

    Besides of which series, of ``values`` and then of ``codes``, each column is.
    """
    columns: list[FloatArray] = []
    sources: list[int] = list(range(min(COLUMNS, len(values))))
    for series in values[:COLUMNS]:
        column, present = np.zeros(len(series)), ~np.isnan(series)
        if present.any():
            ranks = rankdata(series[present])
            column[present] = np.rint(RANKS * (2 * ranks / (len(ranks) + 1) - 1))
        columns.append(column)
    for c, series in enumerate(codes):
        names, counts = np.unique(series[series != MISSING_CODE], return_counts=True)
        for name in names[np.argsort(-counts, kind="stable")][: min(CATEGORIES, COLUMNS - len(columns))]:
            columns.append((series == name).astype(np.float64))
            sources.append(len(values) + c)
    return np.stack(columns, axis=1), sources


def _scores(
    train: FloatArray, later: BoolArray, test: FloatArray, dependences: Sequence[Dependence]
) -> tuple[FloatArray, Dependence]:
    """How much each record of ``test`` looks like a later one to the classifier of ``train``.

    And how dependent that is, by the ``dependences`` of the columns.
    """
    before, after = train[~later], train[later]
    n, m = len(before), len(after)
    single = _apart(before.sum(0) / n, (before**2).sum(0) / n, after.sum(0) / m, (after**2).sum(0) / m, n, m)
    double = _apart(
        _products(before) / n, _products(before**2) / n, _products(after) / m, _products(after**2) / m, n, m
    )
    left, right = np.triu_indices(train.shape[1])
    effects = np.array([of.effect for of in dependences])
    effects = np.concatenate((effects, np.minimum(effects[left], effects[right])))
    apart = np.abs(np.concatenate((single, double[left, right]))) / np.sqrt(effects)
    order = np.argsort(-apart, kind="stable")[:CHOSEN]
    chosen = order[apart[order] >= max(LEAST_APART, LEAST_SHARE * float(apart[order[0]]))]
    if not len(chosen):
        return np.zeros(len(test)), INDEPENDENT
    most = max(chosen.tolist(), key=lambda c: effects[c])
    width = train.shape[1]
    sides = (most,) if most < width else (int(left[most - width]), int(right[most - width]))
    of = min((dependences[side] for side in sides), key=lambda each: each.effect)

    def expanded(rows: FloatArray) -> FloatArray:
        pairs = chosen[chosen >= width] - width
        return np.concatenate((rows[:, chosen[chosen < width]], rows[:, left[pairs]] * rows[:, right[pairs]]), axis=1)

    used = expanded(train)
    mean = used.sum(0) / len(used)
    spread = _products(used) / len(used) - np.outer(mean, mean)
    scale = np.sqrt(np.maximum(np.diag(spread), 1e-12))
    correlation = spread / np.outer(scale, scale)
    moved = (used[later].sum(0) / m - used[~later].sum(0) / n) / scale
    weights = np.linalg.solve(correlation + RIDGE * np.eye(len(scale)), moved) / scale
    return np.asarray((expanded(test) * weights).sum(axis=1)), of


def _products(rows: FloatArray) -> FloatArray:
    """Sums of the products of all columns: exact, as they are whole numbers below 2^53.

    In portions that a BLAS does not spread over threads, which cost more than they save here.
    """
    width = rows.shape[1]
    step = max(1, ONE_THREAD // max(1, width * width))
    total = np.zeros((width, width))
    for start in range(0, len(rows), step):
        portion = rows[start : start + step]
        total += portion.T @ portion
    return total


def _apart(
    mean: FloatArray, square: FloatArray, later: FloatArray, later_square: FloatArray, n: int, m: int
) -> FloatArray:
    """Difference of two samples' means in standard errors; 0 where nothing varies."""
    variance = (square - mean**2) / n + (later_square - later**2) / m
    return np.where(variance > 1e-9, (later - mean) / np.sqrt(np.maximum(variance, 1e-9)), 0.0)


def _area(scores: FloatArray, later: BoolArray, of: Dependence) -> tuple[float, float]:
    """The AUC of ``scores`` for ``later``, and its one-sided Mann-Whitney p-value, of records so dependent."""
    m = int(later.sum())
    n = len(later) - m
    wins = float(rankdata(scores)[later].sum()) - m * (m + 1) / 2
    deviation = sqrt(n * m * (n + m + 1) / 12)
    deviate = (wins - n * m / 2 - 0.5) / (deviation * sqrt(of.effect))
    two_sided = of.student(2.0 * float(ndtr(-abs(deviate))))
    return wins / (n * m), two_sided / 2.0 if deviate > 0.0 else 1.0 - two_sided / 2.0
