"""Rises of the share of missing, out-of-range and undeclared values: the "equipment changed" case."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from online.detectors.base import Batch
from online.detectors.dependence import SUSPECT
from online.detectors.remembered import Remembered, of_cells
from online.detectors.significance import has_range, signal_count, significance_level
from online.detectors.windows import (
    MIN_VALUES,
    SHORT,
    AlarmAges,
    IntArray,
    Packed,
    onset,
    pack,
    unpack_integers,
)
from penstock.events import FeatureValue, Finding
from penstock.spec import Categorical, Date, DriftPolicy, Numeric, Pipeline

#: What a value says about a signal: nothing (it is missing), no, or yes.
_SILENT, _NO, _YES = -1, 0, 1
Mark: TypeAlias = Callable[[FeatureValue], int]


class _Signal(NamedTuple):
    detector: str
    feature: str
    mark: Mark


def two_proportion_p_value(hits: int, n: int, later_hits: int, m: int) -> float:
    """One-sided p-value of a rise from hits / n to later_hits / m (pooled z-test; n, m > 0)."""
    pooled = (hits + later_hits) / (n + m)
    variance = pooled * (1 - pooled) * (1 / n + 1 / m)
    if variance <= 0:
        return 1.0
    return float(ndtr(-(later_hits / m - hits / n) / np.sqrt(variance)))


def _missing(value: FeatureValue) -> int:
    return _YES if value is None else _NO


def _outside(feature: Numeric) -> Mark:
    low = -np.inf if feature.low is None else feature.low
    high = np.inf if feature.high is None else feature.high

    def mark(value: FeatureValue) -> int:
        if not isinstance(value, int | float):
            return _SILENT
        return _NO if low <= value <= high else _YES

    return mark


def _undeclared(feature: Categorical) -> Mark:
    declared = frozenset(feature.values)
    return lambda value: _SILENT if value is None else _NO if value in declared else _YES


def _signals(pipeline: Pipeline) -> list[_Signal]:
    signals: list[_Signal] = []
    for feature in pipeline.features:
        if isinstance(feature, Date):
            continue
        signals.append(_Signal("missing", feature.name, _missing))
        if isinstance(feature, Numeric) and has_range(feature):
            signals.append(_Signal("range", feature.name, _outside(feature)))
        if isinstance(feature, Categorical) and feature.values:
            signals.append(_Signal("unseen", feature.name, _undeclared(feature)))
    return signals


class _State(msgspec.Struct, array_like=True):
    hits: Packed
    n: Packed
    filled: int
    marks: Packed
    times: Packed
    ages: tuple[Packed, Packed]
    remembered: bytes


class SchemaShares:
    """Per feature: is the share of missing, out-of-range or undeclared values higher than in the reference?

    One-sided two-proportion z-test; ``statistic`` and ``effect`` are the rise of the share in the whole window, or in
    its newest quarter where that is significant and the whole is not. Out of range and undeclared are judged where the
    spec declares a range or values, among values that are not missing. A share that did not rise gives no finding.
    Small p-values allow for the dependence of successive records before the window (`online.detectors.remembered`).
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._signals = _signals(pipeline)
        self._window = pipeline.drift.window
        self._reference_size = pipeline.drift.reference
        default = DriftPolicy(look_every=pipeline.drift.look_every)
        self._mode = pipeline.drift.reference_mode
        self._level, self._floor = significance_level(default, signal_count(pipeline)), default.effect_floor
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next records are the reference."""
        signals = len(self._signals)
        self._hits = np.zeros(signals, dtype=np.int64)
        self._n = np.zeros(signals, dtype=np.int64)
        self._filled = 0
        self._marks: npt.NDArray[np.int8] = np.empty((0, signals), dtype=np.int8)
        self._times: IntArray = np.empty(0, dtype=np.int64)
        self._ages = AlarmAges(signals, self._window, self._mode)
        self._remembered = Remembered(signals, of_cells)

    def turn(self) -> None:
        """The current window becomes the reference of every share, and a new one begins."""
        if not len(self._times):
            return
        self._hits, self._n = (self._marks == _YES).sum(axis=0), (self._marks != _SILENT).sum(axis=0)
        self._remembered.take(self._marks.T, self._ages.running)
        self._marks, self._times = self._marks[:0], self._times[:0]

    def update(self, batch: Batch) -> list[Finding]:
        """Take ``batch``; one finding per share that is higher than in the reference."""
        if not self._signals or not batch.rows:
            return []
        columns = [[signal.mark(row[signal.feature]) for row in batch.rows] for signal in self._signals]
        marks = np.array(columns, dtype=np.int8).T
        take = min(len(marks), self._reference_size - self._filled)
        self._filled += take
        self._hits += (marks[:take] == _YES).sum(axis=0)
        self._n += (marks[:take] != _SILENT).sum(axis=0)
        if take:
            for s, column in enumerate(marks[:take].T):
                self._remembered.add(s, column)
        held = np.concatenate((self._marks, marks[take:]))
        if len(held) > self._window:
            self._remembered.take(held[: -self._window].T, self._ages.running)
        self._marks = held[-self._window :]
        times = np.array(batch.times[take:], dtype=np.int64)
        self._times = np.concatenate((self._times, times))[-self._window :]
        return self._look(len(batch.rows))

    def _look(self, records: int) -> list[Finding]:
        later_hits = (self._marks == _YES).sum(axis=0)
        later_n = (self._marks != _SILENT).sum(axis=0)
        if len(self._times) == self._window:  # where the first records said nothing: compare with what came instead
            blank = (self._n < MIN_VALUES) & (later_n >= MIN_VALUES)
            self._hits[blank], self._n[blank] = later_hits[blank], later_n[blank]
        recent = self._marks[-max(1, self._window // SHORT) :]
        recent_hits, recent_n = (recent == _YES).sum(axis=0), (recent != _SILENT).sum(axis=0)
        findings: list[Finding] = []
        significant = np.zeros(len(self._signals), dtype=np.bool_)
        risen = (later_hits * self._n > self._hits * later_n) | (recent_hits * self._n > self._hits * recent_n)
        for s in np.flatnonzero(risen).tolist():
            found, significant[s] = self._compare(s, int(later_hits[s]), int(later_n[s]))
            if not significant[s]:
                sooner, significant[s] = self._compare(s, int(recent_hits[s]), int(recent_n[s]))
                found = sooner if significant[s] else found
            if found is not None:
                findings.append(found)
        due = self._ages.update(significant, records)
        for s in due.tolist():
            self._remembered.drop(s)
        self._hits[due], self._n[due] = later_hits[due], later_n[due]
        return findings

    def _compare(self, s: int, later_hits: int, m: int) -> tuple[Finding | None, bool]:
        """The rise to ``later_hits`` of ``m``, if it is one, and whether it is significant."""
        n = int(self._n[s])
        if min(n, m) < MIN_VALUES:
            return None, False
        share, later_share = float(self._hits[s] / n), later_hits / m
        rise = later_share - share
        if rise <= 0.0:
            return None, False
        p_value = two_proportion_p_value(int(self._hits[s]), n, later_hits, m)
        if p_value <= SUSPECT:
            of = self._remembered.dependence(s)
            p_value = of.student(2.0 * float(ndtr(ndtri(p_value) / sqrt(of.effect)))) / 2.0
        significant = p_value <= self._level and rise >= self._floor
        finding = Finding(
            detector=self._signals[s].detector,
            kind="schema",
            feature=self._signals[s].feature,
            statistic=rise,
            effect=rise,
            p_value=p_value,
            n_reference=n,
            n_current=m,
            since_event_time_ms=self._since(s, share) if significant else None,
            reference_mean=share,
            current_mean=later_share,
        )
        return finding, significant

    def _since(self, s: int, share: float) -> int:
        marks = self._marks[:, s]
        present = marks != _SILENT
        return int(self._times[present][onset(marks[present] == _YES, share)])

    def state(self) -> bytes:
        """Reference counts, window and alarm ages."""
        return msgspec.msgpack.encode(
            _State(
                pack(self._hits),
                pack(self._n),
                self._filled,
                pack(self._marks),
                pack(self._times),
                self._ages.pack(),
                self._remembered.state(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._hits, self._n = unpack_integers(held.hits), unpack_integers(held.n)
        self._filled = held.filled
        self._marks = unpack_integers(held.marks).astype(np.int8)
        self._times = unpack_integers(held.times)
        self._ages.unpack(held.ages)
        self._remembered.restore(held.remembered)
