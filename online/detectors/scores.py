"""Prediction drift and uncertainty: scores, decisions, confidence and entropy of what was served."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from scipy.special import ndtr

from online.detectors.base import Batch
from online.detectors.categorical import POOLED, Table
from online.detectors.dependence import (
    SUSPECT,
    cells_dependence,
    dependence,
    dependent_ks_p_value,
)
from online.detectors.distances import jensen_shannon, population_stability, wasserstein
from online.detectors.kolmogorov import Counted, References, ks_p_value
from online.detectors.numeric import numeric_histogram
from online.detectors.remembered import of_ranks
from online.detectors.served import Served
from online.detectors.significance import signal_count, significance_level
from online.detectors.windows import MIN_VALUES, SHORT, AlarmAges, BoolArray, FloatArray, Packed, onset
from penstock.events import Finding
from penstock.models.slot import ONLINE
from penstock.spec import DriftPolicy, Pipeline

#: Differences of means below this are rounding.
ROUNDING = 1e-12


class _State(msgspec.Struct, array_like=True):
    version: str
    reference: list[Served]
    own: list[list[Served] | None]
    window: list[Served]
    ages: tuple[Packed, Packed]


class ServedScores:
    """How the champion's answers differ from those it gave at first, within one version.

    Of kind ``prediction``: ``score`` (KS of the scores; binary and regression), ``decision`` (χ² of the decided
    classes, its effect the total variation: for two classes how far the approval rate moved). Of kind ``uncertainty``:
    ``confidence`` (the mean of the greatest probability fell) and ``entropy`` (the mean predictive entropy, over its
    maximum, rose), by Welch's one-sided z-test, their effect the difference; a regression has none.

    The reference is the version's first records; a new version starts afresh. An online champion is another matter: it
    moves while it learns, without any drift, and no p-value says how far. It is compared with the window before the
    current one, and its findings have ``p_value`` 1, which reports the effect and can never open an incident.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._window = pipeline.drift.window
        self._reference_size = pipeline.drift.reference
        self._positive = pipeline.classes[1] if pipeline.task == "binary" else None
        self._signals: tuple[Callable[[list[Served], list[Served]], Finding | None], ...] = {
            "binary": (_score, self._decision, _confidence, _entropy),
            "multiclass": (self._decision, _confidence, _entropy),
            "regression": (_score,),
        }[pipeline.task]
        default = DriftPolicy(look_every=pipeline.drift.look_every)
        self._level = significance_level(default, signal_count(pipeline))
        self._floors = {"prediction": default.prediction_floor, "uncertainty": default.uncertainty_floor}
        self._mode = pipeline.drift.reference_mode
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next records are the reference."""
        self._start("")

    def _start(self, version: str) -> None:
        self._version = version
        self._held: deque[Served] = deque(maxlen=self._reference_size)
        #: A signal whose reference was renewed has its own.
        self._own: list[list[Served] | None] = [None] * len(self._signals)
        self._newest: deque[Served] = deque(maxlen=self._window)
        self._ages = AlarmAges(len(self._signals), self._window, self._mode)

    def turn(self) -> None:
        """The current window becomes the reference, and a new one begins."""
        if self._newest and self._version != ONLINE:
            self._held.extend(self._newest)
            self._own = [None] * len(self._signals)
            self._newest.clear()

    def update(self, batch: Batch) -> list[Finding]:
        """Take what was served; a finding per signal that differs as it should not, or could."""
        for one in batch.served:
            if one.version != self._version:
                self._start(one.version)
            if len(self._held) < self._reference_size:
                self._held.append(one)
                continue
            if self._version == ONLINE and len(self._newest) == self._window:
                self._held.append(self._newest[0])
            self._newest.append(one)
        least = max(MIN_VALUES, self._window // SHORT)
        if len(self._held) < self._reference_size or len(self._newest) < least:
            return []
        return self._look(len(batch.rows))

    def _look(self, records: int) -> list[Finding]:
        reference, current = list(self._held), list(self._newest)
        findings: list[Finding] = []
        significant = np.zeros(len(self._signals), dtype=np.bool_)
        for s, signal in enumerate(self._signals):
            found = signal(self._own[s] or reference, current)
            if found is None:
                continue
            if self._version == ONLINE:
                found = msgspec.structs.replace(found, p_value=1.0)
            significant[s] = found.p_value <= self._level and found.effect >= self._floors[found.kind]
            if not significant[s]:
                found = msgspec.structs.replace(found, histogram=None, since_event_time_ms=None)
            findings.append(found)
        for s in self._ages.update(significant, records).tolist():
            self._own[s] = current
        return findings

    def _decision(self, reference: list[Served], current: list[Served]) -> Finding | None:
        before, after = (Counter(one.decision for one in side) for side in (reference, current))
        if min(len(reference), len(current)) < MIN_VALUES:
            return None
        table = Table(before, after)
        statistic = table.statistic()
        named, risen, share = table.risen()
        member = np.array([(one.decision if one.decision in named else POOLED) in risen for one in current])
        rate = self._positive
        return Finding(
            detector="decision",
            kind="prediction",
            statistic=statistic,
            effect=table.total_variation(),
            p_value=table.p_value(
                statistic, lambda: cells_dependence(table.cells([one.decision for one in reference]))
            ),
            n_reference=table.n,
            n_current=table.m,
            since_event_time_ms=_since(current, member, share),
            reference_mean=None if rate is None else before[rate] / table.n,
            current_mean=None if rate is None else after[rate] / table.m,
            histogram=table.histogram(),
            measures={
                "psi": float(population_stability(table.reference, table.current)),
                "jensen_shannon": jensen_shannon(table.reference, table.current),
            },
        )

    def state(self) -> bytes:
        """References, the window and alarm ages."""
        return msgspec.msgpack.encode(
            _State(self._version, list(self._held), self._own, list(self._newest), self._ages.pack())
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._start(held.version)
        self._held.extend(held.reference)
        self._own = held.own
        self._newest.extend(held.window)
        self._ages.unpack(held.ages)


def _values(side: Iterable[float | None]) -> FloatArray:
    return np.array([value for value in side if value is not None], dtype=np.float64)


def _score(reference: list[Served], current: list[Served]) -> Finding | None:
    before, after = _values(one.score for one in reference), _values(one.score for one in current)
    if len(before) < MIN_VALUES or len(after) < len(current):
        return None
    references = References([before], len(before))
    placed = references.place(after[None, :])
    counted = Counted(references, placed)
    statistic = int(counted.apart()[0]) / (len(before) * len(after))
    p_value = ks_p_value(statistic, len(before), len(after))
    bins = [counts[0] for counts in references.bins(counted)]
    cell = counted.cell(0)
    if p_value <= SUSPECT:
        of = of_ranks(references.ranks(0, references.place_one(0, before)))
        if of.effect > 1.0:
            p_value = max(p_value, dependent_ks_p_value(statistic, len(before), len(after), of))
    return Finding(
        detector="score",
        kind="prediction",
        statistic=statistic,
        effect=statistic,
        p_value=p_value,
        n_reference=len(before),
        n_current=len(after),
        since_event_time_ms=_since(current, placed[0] <= cell, int(references.until[0, cell]) / len(before)),
        reference_mean=float(before.mean()),
        current_mean=float(after.mean()),
        histogram=numeric_histogram(before, after),
        measures={
            "psi": float(population_stability(*bins)),
            "wasserstein": wasserstein(before, after),
            "jensen_shannon": jensen_shannon(*bins),
        },
    )


def _since(current: list[Served], member: BoolArray, share: float) -> int:
    return current[onset(member, share)].time_ms


def _confidence(reference: list[Served], current: list[Served]) -> Finding | None:
    return _rise("confidence", reference, current, lambda one: None if one.confidence is None else -one.confidence)


def _entropy(reference: list[Served], current: list[Served]) -> Finding | None:
    return _rise("entropy", reference, current, lambda one: one.entropy)


def _rise(
    detector: str, reference: list[Served], current: list[Served], measure: Callable[[Served], float | None]
) -> Finding | None:
    """Welch's one-sided z-test of a rise of the mean of ``measure``."""
    before, after = _values(map(measure, reference)), _values(map(measure, current))
    n, m = len(before), len(after)
    if n < MIN_VALUES or m < len(current):
        return None
    low, high = float(before.mean()), float(after.mean())
    rise, variance = high - low, float(before.var()) / n + float(after.var()) / m
    if variance > ROUNDING**2:
        p_value = float(ndtr(-rise / np.sqrt(variance)))
        if p_value <= SUSPECT:
            of = dependence(before[None, :])
            p_value = of.student(2.0 * float(ndtr(-rise / np.sqrt(variance * of.effect)))) / 2.0
    else:
        p_value = float(rise <= ROUNDING)
    return Finding(
        detector=detector,
        kind="uncertainty",
        statistic=rise,
        effect=min(1.0, max(0.0, rise)),
        p_value=p_value,
        n_reference=n,
        n_current=m,
        since_event_time_ms=_since(current, after > low, float((before > low).mean())),
        reference_mean=abs(low),
        current_mean=abs(high),
    )
