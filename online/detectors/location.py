"""A test of where each numeric feature lies: smaller shifts than the KS statistic's floor lets through, and sooner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import sqrt

import msgspec
import numpy as np
from scipy.special import ndtr

from online.detectors.base import Batch
from online.detectors.dependence import SUSPECT, Dependence
from online.detectors.numeric import numeric_histogram
from online.detectors.significance import LOCATION, LOCATION_SHARE, numeric_features, signal_count, significance_level
from online.detectors.windows import (
    MIN_VALUES,
    AlarmAges,
    BoolArray,
    FloatArray,
    Packed,
    SlidingColumns,
    pack,
    unpack_floats,
    unpack_integers,
)
from penstock.events import Finding
from penstock.spec import DriftPolicy, Pipeline

#: Records per block: means are kept of blocks, and a shift is dated to one.
BLOCK = 50
#: Blocks that are remembered.
REMEMBERED = 200
#: So many quarters of a window, the newest, are compared with all before them.
QUARTERS = (1, 2, 3, 4, 8, 16)
#: Values count up to so many standard deviations from the median: no outlier moves a mean by more.
LIMIT = 3.0
#: Interquartile range of a normal distribution, in standard deviations.
NORMAL_RANGE = 1.349


class _State(msgspec.Struct, array_like=True):
    samples: list[Packed]
    filled: int
    pending: Packed
    pending_times: list[int]
    values: Packed
    sums: list[Packed]
    times: Packed
    ages: tuple[Packed, Packed]


class Location:
    """Whether the mean of a numeric feature's newest records differs from that of all records before them.

    A value counts in standard deviations (the reference's interquartile range / 1.349) from the reference's median,
    at most 3 of them: the winsorised mean is nearly as sharp as the mean where tails are light, and no few values
    move it where they are heavy (Huber & Ronchetti, Robust Statistics, 2009). Compared are the newest one to four
    quarters of the window, two windows and four with up to 10,000 records before them, which tell a shift from
    noise better than a reference of one window does (of dependent records, a window holds few independent ones).
    ``statistic`` is the standardised difference d of the two means (Cohen's d), ``p_value`` the two-sided one of
    Welch's test, which where it is at most 0.01 allows for dependence: by ``dependence`` of the feature's name.
    ``effect`` is 2 Φ(|d| / 2) - 1, the KS statistic of two normal distributions that are d apart; the floor is 0.8
    × ``effect_floor``, by default |d| = 0.2, which Cohen (1988) calls small. The finding is that of the greatest
    part that is significant, else of the part with the least p-value.

    A feature of which the middle half of the reference is one value has no finding here. References begin anew as those
    of `KolmogorovSmirnov` do; with fixed ones the records before still count.
    """

    def __init__(self, pipeline: Pipeline, dependence: Callable[[str], Dependence]) -> None:
        self._dependence = dependence
        self._names = [feature.name for feature in numeric_features(pipeline)]
        self._reference_size = pipeline.drift.reference
        self._window_blocks = max(1, pipeline.drift.window // BLOCK)
        self._remembered = max(REMEMBERED, 2 * QUARTERS[-1] // 4 * self._window_blocks)
        self._parts = sorted({max(1, self._window_blocks * quarters // 4) for quarters in QUARTERS}, reverse=True)
        self._mode, self._window = pipeline.drift.reference_mode, pipeline.drift.window
        default = DriftPolicy(look_every=pipeline.drift.look_every)
        self._level = significance_level(default, signal_count(pipeline))
        self._floor = LOCATION_SHARE * default.effect_floor
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next records are the reference."""
        features = len(self._names)
        self._samples: list[FloatArray] = [np.empty(0)] * features
        self._filled = 0
        self._centre, self._scale = np.zeros(features), np.full(features, np.inf)
        self._pending = np.empty((features, 0))
        self._pending_times: list[int] = []
        self._values = SlidingColumns(features, self._window_blocks * BLOCK, np.float64)
        #: Per block how many values there are, their sum and the sum of their squares.
        self._sums = tuple(SlidingColumns(features, self._remembered, np.float64) for _ in range(3))
        self._times = SlidingColumns(1, self._remembered, np.int64)
        self._ages = AlarmAges(features, self._window, self._mode)

    def turn(self) -> None:
        """The current window becomes the reference of every feature."""
        for f in range(len(self._names) if len(self._values) else 0):
            self._renew(f)

    def update(self, batch: Batch) -> list[Finding]:
        """Take ``batch``; one finding per numeric feature once there is enough to compare."""
        if not self._names or not batch.rows:
            return []
        table = np.array([[row[name] for row in batch.rows] for name in self._names], dtype=np.float64)
        self._pending = np.concatenate((self._pending, table), axis=1)
        self._pending_times.extend(batch.times)
        if self._filled < self._reference_size:
            taken = table[:, : self._reference_size - self._filled]
            self._samples = [np.concatenate(held) for held in zip(self._samples, taken, strict=True)]
            self._filled += taken.shape[1]
            if self._filled < self._reference_size:
                return []
            self._measure(range(len(self._names)))
        self._count()
        if len(self._values) == self._window_blocks * BLOCK:
            for f in np.flatnonzero(self._scale == np.inf).tolist():
                self._renew(f)  # its first records were missing, or of one value
        return self._look(len(batch.rows))

    def _measure(self, features: Iterable[int]) -> None:
        for f in features:
            sample = self._samples[f] = self._samples[f][~np.isnan(self._samples[f])]
            if len(sample) >= MIN_VALUES:
                low, self._centre[f], high = np.quantile(sample, (0.25, 0.5, 0.75))
                self._scale[f] = (high - low) / NORMAL_RANGE if low < high < low + np.inf else np.inf

    def _count(self) -> None:
        """Take all whole blocks of what is pending."""
        blocks = self._pending.shape[1] // BLOCK
        records = blocks * BLOCK
        values, self._pending = self._pending[:, :records], self._pending[:, records:].copy()
        times, self._pending_times = self._pending_times[:records], self._pending_times[records:]
        for series, sums in zip(self._sums, self._block_sums(values, slice(None)), strict=True):
            series.push(sums)
        self._times.push(np.array([times[::BLOCK]], dtype=np.int64))
        self._values.push(values)

    def _block_sums(self, values: FloatArray, features: slice) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Count, sum and sum of squares per block of ``values`` (features × records), in standard deviations."""
        scaled = (values - self._centre[features, None]) / self._scale[features, None]
        blocks = np.clip(scaled, -LIMIT, LIMIT).reshape(len(values), -1, BLOCK)
        present = ~np.isnan(blocks)
        blocks = np.where(present, blocks, 0.0)
        return present.sum(axis=2).astype(np.float64), blocks.sum(axis=2), (blocks**2).sum(axis=2)

    def _look(self, records: int) -> list[Finding]:
        compared = [_Compared(self._sums, part) for part in self._parts if 2 * part <= len(self._times)]
        if not compared:
            return []
        p_values = np.stack([each.p_value for each in compared])
        for f in np.flatnonzero((p_values <= SUSPECT).any(axis=0)).tolist():
            p_values[:, f] = [each.careful_p_value(f, self._dependence(self._names[f])) for each in compared]
        alarmed = (p_values <= self._level) & (np.stack([each.effect for each in compared]) >= self._floor)
        best = np.where(alarmed.any(axis=0), alarmed.argmax(axis=0), p_values.argmin(axis=0)).tolist()
        findings: list[Finding] = []
        significant = np.zeros(len(self._names), dtype=np.bool_)
        for f, (name, chosen) in enumerate(zip(self._names, best, strict=True)):
            part = compared[chosen]
            if self._scale[f] == np.inf or not part.enough[f]:
                continue
            effect, p_value = float(part.effect[f]), float(p_values[chosen, f])
            significant[f] = p_value <= self._level and effect >= self._floor
            found = Finding(
                detector=LOCATION,
                kind="covariate",
                feature=name,
                statistic=float(part.distance[f]),
                effect=effect,
                p_value=p_value,
                n_reference=int(part.before[0][f]),
                n_current=int(part.after[0][f]),
            )
            findings.append(self._detailed(found, part, f) if significant[f] else found)
        for f in self._ages.update(significant, records).tolist():
            self._renew(f)
        return findings

    def _detailed(self, found: Finding, part: _Compared, f: int) -> Finding:
        """``found`` with when it began, means and a histogram."""
        newest_blocks = max(2 * self._window_blocks, part.blocks)
        count, total, _ = (series.view[f, -newest_blocks:] for series in self._sums)
        excess = total - count * (part.before[1][f] / part.before[0][f])
        after, size = np.cumsum(excess[::-1]), np.maximum(np.cumsum(count[::-1]), 1.0)
        begin = len(self._times) - 1 - int(np.argmax(after * after / size))
        reference, newest = self._samples[f], self._values.view[f, -part.blocks * BLOCK :]
        current = newest[~np.isnan(newest)]
        return msgspec.structs.replace(
            found,
            since_event_time_ms=int(self._times.view[0, begin]),
            reference_mean=float(reference.mean()),
            current_mean=float(current.mean()),
            histogram=numeric_histogram(reference, current),
        )

    def _renew(self, f: int) -> None:
        """The window becomes the reference of feature ``f``, and what came before it is forgotten."""
        self._samples[f] = self._values.view[f].copy()
        self._scale[f] = np.inf
        self._measure([f])
        sums = self._block_sums(self._values.view[f : f + 1], slice(f, f + 1))
        for series, newest in zip(self._sums, sums, strict=True):
            series.view[f] = 0.0
            series.view[f, len(self._times) - newest.shape[1] :] = newest[0]

    def state(self) -> bytes:
        """Reference, window, sums of blocks, what is pending, and alarm ages."""
        return msgspec.msgpack.encode(
            _State(
                [pack(sample) for sample in self._samples],
                self._filled,
                pack(self._pending),
                self._pending_times,
                pack(self._values.view),
                [pack(series.view) for series in self._sums],
                pack(self._times.view),
                self._ages.pack(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self.reset()
        self._samples, self._filled = [unpack_floats(packed) for packed in held.samples], held.filled
        self._pending, self._pending_times = unpack_floats(held.pending), held.pending_times
        self._values.push(unpack_floats(held.values))
        for series, packed in zip(self._sums, held.sums, strict=True):
            series.push(unpack_floats(packed))
        self._times.push(unpack_integers(held.times))
        self._ages.unpack(held.ages)
        if self._filled == self._reference_size:
            self._measure(range(len(self._names)))


class _Compared:
    """The newest ``blocks`` blocks with all before them, feature by feature."""

    def __init__(self, sums: Sequence[SlidingColumns], blocks: int) -> None:
        self.blocks = blocks
        #: Count, mean and variance per feature.
        self.before = _moments([series.view[:, :-blocks] for series in sums])
        self.after = _moments([series.view[:, -blocks:] for series in sums])
        (n, mean, variance), (m, later, later_variance) = self.before, self.after
        self.enough: BoolArray = (np.minimum(n, m) >= MIN_VALUES) & (variance > 0.0)
        apart = np.where(self.enough, later - mean, 0.0)
        self.distance: FloatArray = apart / np.sqrt(np.where(self.enough, variance, 1.0))
        self.effect: FloatArray = 2.0 * ndtr(np.abs(self.distance) / 2.0) - 1.0
        error = variance / np.maximum(n, 1.0) + later_variance / np.maximum(m, 1.0)
        self.p_value: FloatArray = 2.0 * ndtr(-np.abs(apart) / np.sqrt(np.where(self.enough, error, 1.0)))

    def careful_p_value(self, f: int, of: Dependence) -> float:
        """That of feature ``f``, of records so dependent.

        Few of them vary less among themselves than the feature does: the greater variance holds for both parts.
        """
        if of.effect <= 1.0 or not self.enough[f]:
            return float(self.p_value[f])
        n, m = float(self.before[0][f]), float(self.after[0][f])
        variance = max(float(self.before[2][f]), float(self.after[2][f])) / max(0.1, 1.0 - of.effect / n)
        apart = abs(float(self.after[1][f]) - float(self.before[1][f]))
        errors = apart / sqrt(variance * of.effect * (1.0 / n + 1.0 / m))
        return max(float(self.p_value[f]), of.student(float(2.0 * ndtr(-errors))))


def _moments(sums: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    count, total, squares = (blocks.sum(axis=1) for blocks in sums)
    held = np.maximum(count, 1.0)
    mean = total / held
    return count, mean, np.maximum(squares / held - mean * mean, 0.0)
