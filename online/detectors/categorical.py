"""χ² test of every categorical and boolean feature, with total variation as its effect."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from zlib import crc32

import msgspec
import numpy as np

from online.detectors.base import Batch
from online.detectors.contingency import LEAST_EXPECTED, chi_square, chi_square_p_value
from online.detectors.dependence import SUSPECT, Dependence
from online.detectors.distances import jensen_shannon, population_stability
from online.detectors.remembered import CELLS, Codes, Remembered, of_cells
from online.detectors.remembered import MISSING as NO_VALUE
from online.detectors.significance import category_features, signal_count, significance_level
from online.detectors.windows import MIN_VALUES, SHORT, AlarmAges, IntArray, Packed, onset
from penstock.events import FeatureValue, Finding, Histogram
from penstock.spec import DriftPolicy, Pipeline

#: Characters of a category that are looked at; longer ones that begin alike count as one.
CATEGORY_LENGTH = 64
#: The code of a missing category.
MISSING_CODE = -1
#: The name of the pooled cell in histograms.
POOLED = "(other)"
#: Categories that a histogram names; the rest is pooled there too.
BARS = 12


def category(value: FeatureValue) -> str | None:
    """How a value is counted: booleans as ``true`` and ``false``, None for a missing one."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:CATEGORY_LENGTH]


def category_code(value: FeatureValue) -> int:
    """A whole number for `category`, the same in every process: its CRC-32, or `MISSING_CODE`."""
    name = category(value)
    return MISSING_CODE if name is None else crc32(name.encode())


class Table:
    """The contingency table of one feature: cells by size, rare categories of both samples pooled into the last."""

    def __init__(self, reference: Counter[str], current: Counter[str]) -> None:
        self.n, self.m = reference.total(), current.total()
        least = LEAST_EXPECTED * (self.n + self.m) / max(1, min(self.n, self.m))
        both = reference + current
        kept = sorted((name for name, count in both.items() if count >= least), key=lambda name: (-both[name], name))
        cells = [(name, reference[name], current[name]) for name in kept]
        rest = (self.n - sum(cell[1] for cell in cells), self.m - sum(cell[2] for cell in cells))
        if cells and 0 < sum(rest) < least:
            _, *smallest = cells.pop()
            rest = (rest[0] + smallest[0], rest[1] + smallest[1])
        if sum(rest):
            cells.append((POOLED, *rest))
        #: Of the features that are watched.
        self.names = [cell[0] for cell in cells]
        self.reference = np.array([cell[1] for cell in cells], dtype=np.float64)
        self.current = np.array([cell[2] for cell in cells], dtype=np.float64)

    def statistic(self) -> float:
        """Pearson's χ² of homogeneity."""
        return chi_square(self.reference, self.current)

    def p_value(self, statistic: float, dependence: Callable[[], Dependence]) -> float:
        """Its asymptotic p-value; where that is small it allows for the ``dependence`` of the values."""
        p_value = chi_square_p_value(statistic, len(self.names))
        if p_value > SUSPECT:
            return p_value
        of = dependence()
        return of.student(chi_square_p_value(statistic / of.effect, len(self.names)))

    def cells(self, values: Sequence[str]) -> IntArray:
        """The cell of each of ``values``."""
        cell_of = {name: cell for cell, name in enumerate(self.names)}
        last = len(self.names) - 1
        return np.array([cell_of.get(value, last) for value in values], dtype=np.int64)

    def total_variation(self) -> float:
        """Half the sum of the absolute differences of the shares, in [0, 1]."""
        return float(min(1.0, 0.5 * np.abs(self.reference / self.n - self.current / self.m).sum()))

    def risen(self) -> tuple[set[str], set[str], float]:
        """The kept categories, those of the cells whose share rose (maybe `POOLED`), and their reference share."""
        up = self.current / self.m > self.reference / self.n
        names = {name for name, rose in zip(self.names, up, strict=True) if rose}
        return set(self.names) - {POOLED}, names, float(self.reference[up].sum() / self.n)

    def histogram(self) -> Histogram:
        """The greatest cells by name, the others together."""
        head = slice(0, BARS)
        names, reference, current = self.names[head], self.reference[head].tolist(), self.current[head].tolist()
        if len(self.names) > BARS:
            names.append(POOLED)
            reference.append(self.n - sum(reference))
            current.append(self.m - sum(current))
        return Histogram(
            reference=[int(count) for count in reference], current=[int(count) for count in current], categories=names
        )


class _Feature:
    """Reference counts and sliding window of one feature."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reference: Counter[str] = Counter()
        #: The same in order.
        self.referred: list[str] = []
        self.window: deque[str | None] = deque()
        self.current: Counter[str] = Counter()
        self._ranks: dict[str, int] | None = None

    def refer(self, values: Iterable[str | None]) -> None:
        """Add ``values`` to the reference."""
        present = [value for value in values if value is not None]
        self._ranks = None
        self.referred += present
        self.reference.update(present)

    def renew(self) -> None:
        """The window becomes the reference."""
        self.reference, self.referred = Counter(), []
        self.refer(self.window)

    def codes(self, values: Sequence[str | None]) -> Codes:
        """The ranks of ``values`` by how common they are in the reference; the rarest share one."""
        if self._ranks is None:
            common = sorted(self.reference.items(), key=lambda item: (-item[1], item[0]))[: CELLS - 1]
            self._ranks = {name: rank for rank, (name, _) in enumerate(common)}
        ranks, last = self._ranks, CELLS - 1
        codes = [NO_VALUE if value is None else ranks.get(value, last) for value in values]
        return np.array(codes, dtype=np.int8)

    def slide(self, values: Iterable[str | None], size: int) -> list[str | None]:
        """Take ``values``; those that left the window."""
        left: list[str | None] = []
        for value in values:
            self.window.append(value)
            if value is not None:
                self.current[value] += 1
            if len(self.window) > size:
                gone = self.window.popleft()
                left.append(gone)
                if gone is not None:
                    self.current[gone] -= 1
                    if not self.current[gone]:
                        del self.current[gone]
        return left

    def newest(self, size: int) -> Counter[str]:
        """The counts of the newest ``size`` records."""
        return Counter(value for value in islice(reversed(self.window), size) if value is not None)


class _State(msgspec.Struct, array_like=True):
    referred: list[list[str]]
    windows: list[list[str | None]]
    times: list[int]
    filled: int
    ages: tuple[Packed, Packed]
    remembered: bytes


class ChiSquare:
    """χ² of homogeneity of each categorical or boolean feature's sliding window and its reference window.

    ``statistic`` is Pearson's χ² (1900; k cells, k − 1 degrees of freedom), ``effect`` the total variation
    ½ Σ |reference share − current share|. Categories are pooled by their count in both samples together until the
    smaller sample expects 10 in each cell, so the choice of cells favours neither, and a feature with a hundred
    thousand values costs no more than its two windows. Small p-values allow for the dependence of successive values
    before the window (`online.detectors.remembered`). The newest quarter of the window is compared too, and is the
    finding where it is significant and the whole is not. ``psi`` and ``jensen_shannon`` are of the same cells. Missing
    values are left out.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.names = [feature.name for feature in category_features(pipeline)]
        self._window = pipeline.drift.window
        self._reference_size = pipeline.drift.reference
        default = DriftPolicy(look_every=pipeline.drift.look_every)
        self._mode = pipeline.drift.reference_mode
        self._stable = default.psi_warning
        self._level, self._floor = significance_level(default, signal_count(pipeline)), default.effect_floor
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next records are the reference."""
        self._features = [_Feature(name) for name in self.names]
        self._times: deque[int] = deque(maxlen=self._window)
        self._filled = 0
        self._ages = AlarmAges(len(self.names), self._window, self._mode)
        self._remembered = Remembered(len(self.names), of_cells)

    def dependence(self, name: str) -> Dependence:
        """How dependent the values of feature ``name`` are."""
        return self._remembered.dependence(self.names.index(name))

    def turn(self) -> None:
        """The current window becomes the reference of every feature, and a new one begins."""
        if not self._times:
            return
        self._times.clear()
        self._remembered.take([feature.codes(list(feature.window)) for feature in self._features], self._ages.running)
        for feature in self._features:
            feature.renew()
            feature.window.clear()
            feature.current.clear()

    def update(self, batch: Batch) -> list[Finding]:
        """Take ``batch``; one finding per feature once there is enough to compare."""
        if not self.names:
            return []
        take = min(len(batch.rows), self._reference_size - self._filled)
        self._filled += take
        self._times.extend(batch.times[take:])
        left: list[Codes] = []
        for f, feature in enumerate(self._features):
            values = iter([category(row[feature.name]) for row in batch.rows])
            if take:
                feature.refer(islice(values, take))
                if self._filled == self._reference_size:
                    self._remembered.add(f, feature.codes(feature.referred))
            left.append(feature.codes(feature.slide(values, self._window)))
        if len(left[0]):
            self._remembered.take(left, self._ages.running)
        return self._look(len(batch.rows))

    def _look(self, records: int) -> list[Finding]:
        findings: list[Finding] = []
        significant = np.zeros(len(self.names), dtype=np.bool_)
        for f, feature in enumerate(self._features):
            if feature.reference.total() < MIN_VALUES and len(self._times) == self._window:
                feature.renew()  # its first records were missing
            if min(feature.reference.total(), feature.current.total()) < MIN_VALUES:
                continue
            finding, significant[f] = self._compare(f, feature, feature.current)
            recent = feature.newest(self._window // SHORT)
            if not significant[f] and recent.total() >= MIN_VALUES:
                sooner, significant[f] = self._compare(f, feature, recent)
                finding = sooner if significant[f] else finding
            findings.append(finding)
        for f in self._ages.update(significant, records).tolist():
            self._remembered.drop(f)
            self._features[f].renew()
        return findings

    def _compare(self, f: int, feature: _Feature, current: Counter[str]) -> tuple[Finding, bool]:
        table = Table(feature.reference, current)
        statistic, effect = table.statistic(), table.total_variation()
        p_value = table.p_value(statistic, lambda: self._remembered.dependence(f))
        stability = float(population_stability(table.reference, table.current))
        significant = p_value <= self._level and (effect >= self._floor or stability >= self._stable)
        finding = Finding(
            detector="chi2",
            kind="covariate",
            feature=feature.name,
            statistic=statistic,
            effect=effect,
            p_value=p_value,
            n_reference=table.n,
            n_current=table.m,
            measures={
                "psi": stability,
                "jensen_shannon": jensen_shannon(table.reference, table.current),
            },
            since_event_time_ms=self._since(feature, table) if significant else None,
            histogram=table.histogram() if significant else None,
        )
        return finding, significant

    def _since(self, feature: _Feature, table: Table) -> int:
        named, risen, share = table.risen()
        present = [(t, value) for t, value in zip(self._times, feature.window, strict=True) if value is not None]
        member = [(value if value in named else POOLED) in risen for _, value in present]
        return present[onset(np.array(member, dtype=np.bool_), share)][0]

    def state(self) -> bytes:
        """References, windows and alarm ages."""
        features = self._features
        return msgspec.msgpack.encode(
            _State(
                [feature.referred for feature in features],
                [list(feature.window) for feature in features],
                list(self._times),
                self._filled,
                self._ages.pack(),
                self._remembered.state(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._times = deque(held.times, maxlen=self._window)
        self._filled = held.filled
        self._ages.unpack(held.ages)
        self._remembered.restore(held.remembered)
        for feature, referred, window in zip(self._features, held.referred, held.windows, strict=True):
            feature.reference, feature.referred = Counter(), []
            feature.refer(referred)
            feature.window.clear()
            feature.current.clear()
            feature.slide(window, self._window)
