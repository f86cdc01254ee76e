"""Prior drift: other labels than before (label shares; of a regression the target's distribution)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from online.detectors.contingency import chi_square, chi_square_p_value, pooled_cells
from online.detectors.dependence import SUSPECT, cells_dependence, dependence, dependent_ks_p_value
from online.detectors.distances import jensen_shannon, population_stability, wasserstein
from online.detectors.kolmogorov import ks_p_value
from online.detectors.labelled import LabelledWindows, lasting_level
from online.detectors.windows import MIN_VALUES, SHORT, BoolArray, FloatArray, IntArray, onset
from penstock.events import Example, Finding, Histogram, Score
from penstock.spec import DriftPolicy, Pipeline

#: Classes that a histogram names; the others are pooled there.
BARS = 12
#: Bins of a regression's targets: the reference's deciles.
DECILES = 10


class _Compared(NamedTuple):
    """Two samples of labels: the test, and what it takes to tell what moved and when."""

    statistic: float
    effect: float
    p_value: float
    #: Counts over the same bins.
    reference: IntArray
    current: IntArray
    #: Of the current sample, in order: whether a label is among those that have become more; and their reference share.
    risen: BoolArray
    share: float


class _Test(Protocol):
    detector: str

    def compare(self, reference: FloatArray, current: FloatArray) -> _Compared: ...

    def measures(self, reference: FloatArray, current: FloatArray) -> dict[str, float]: ...

    def histogram(self, reference: FloatArray, current: FloatArray) -> Histogram: ...


class _Shares:
    """Labels as class codes: Pearson's χ² of homogeneity, total variation."""

    detector = "chi2"

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes

    def _counts(self, sample: FloatArray) -> IntArray:
        counts: IntArray = np.bincount(sample.astype(np.int64), minlength=len(self._classes))
        return counts

    def compare(self, reference: FloatArray, current: FloatArray) -> _Compared:
        """Classes by size; the rare ones are pooled until the smaller sample expects 10 labels in a cell."""
        n, m = len(reference), len(current)
        before, after = self._counts(reference), self._counts(current)
        cells = pooled_cells(before, after)
        k = int(cells.max()) + 1
        r, c = (np.bincount(cells, counts, k).astype(np.float64) for counts in (before, after))
        statistic = chi_square(r, c) if k > 1 else 0.0
        p_value = chi_square_p_value(statistic, k)
        if p_value <= SUSPECT:
            of = cells_dependence(cells[reference.astype(np.int64)])
            p_value = of.student(chi_square_p_value(statistic / of.effect, k))
        up = c / m > r / n
        return _Compared(
            statistic=statistic,
            effect=float(min(1.0, 0.5 * np.abs(r / n - c / m).sum())),
            p_value=p_value,
            reference=r.astype(np.int64),
            current=c.astype(np.int64),
            risen=up[cells[current.astype(np.int64)]],
            share=float(r[up].sum() / n),
        )

    def measures(self, reference: FloatArray, current: FloatArray) -> dict[str, float]:
        """None besides those of all labels."""
        del reference, current
        return {}

    def histogram(self, reference: FloatArray, current: FloatArray) -> Histogram:
        """The greatest classes by name, the others together."""
        before, after = self._counts(reference), self._counts(current)
        order = np.argsort(-(before + after), kind="stable")
        shown = order if len(order) <= BARS else order[: BARS - 1]
        names = [self._classes[code] for code in shown]
        bars = (before[shown].tolist(), after[shown].tolist())
        if len(shown) < len(order):
            names.append("(other)")
            bars[0].append(len(reference) - sum(bars[0]))
            bars[1].append(len(current) - sum(bars[1]))
        return Histogram(reference=bars[0], current=bars[1], categories=names)


class _Targets:
    """Labels as numbers: the two-sample KS test."""

    detector = "ks"

    def compare(self, reference: FloatArray, current: FloatArray) -> _Compared:
        """D, over the reference's deciles for the other measures."""
        n, m = len(reference), len(current)
        before, after = np.sort(reference), np.sort(current)
        both = np.concatenate((before, after))
        apart = np.searchsorted(before, both, "right") * m - np.searchsorted(after, both, "right") * n
        at = int(np.abs(apart).argmax())
        statistic = abs(int(apart[at])) / (n * m)
        bounds = np.unique(before[(n * np.arange(1, DECILES)) // DECILES])
        p_value = ks_p_value(statistic, n, m)
        if p_value <= SUSPECT:
            of = dependence(np.searchsorted(before, reference)[None, :].astype(np.float64))
            if of.effect > 1.0:
                p_value = max(p_value, dependent_ks_p_value(statistic, n, m, of))
        low = bool(apart[at] < 0)
        member = current <= both[at] if low else current > both[at]
        return _Compared(
            statistic=statistic,
            effect=statistic,
            p_value=p_value,
            reference=np.bincount(np.searchsorted(bounds, reference, "left"), minlength=len(bounds) + 1),
            current=np.bincount(np.searchsorted(bounds, current, "left"), minlength=len(bounds) + 1),
            risen=member,
            share=float(np.mean(reference <= both[at] if low else reference > both[at])),
        )

    def measures(self, reference: FloatArray, current: FloatArray) -> dict[str, float]:
        """The Wasserstein distance in standard deviations of the reference, where that is finite."""
        distance = wasserstein(reference, current)
        return {"wasserstein": distance} if np.isfinite(distance) else {}

    def histogram(self, reference: FloatArray, current: FloatArray) -> Histogram:
        """Counts between the deciles of both samples together."""
        both = np.sort(np.concatenate((reference, current)))
        edges = np.unique(both[((len(both) - 1) * np.arange(DECILES + 1)) // DECILES])
        if len(edges) == 1:
            edges = np.array([edges[0], edges[0]])
        inner = edges[1:-1]
        counts = [
            np.bincount(np.searchsorted(inner, sample, "right"), minlength=len(inner) + 1).tolist()
            for sample in (reference, current)
        ]
        return Histogram(reference=counts[0], current=counts[1], edges=edges.tolist())


class LabelShift:
    """Whether labels are distributed as in the reference, looked at every ``drift.look_every`` labelled examples.

    Classes: Pearson's χ² of homogeneity (1900), ``effect`` = total variation ½ Σ |reference share - current share|.
    Regression: the two-sample Kolmogorov-Smirnov test of the target, ``effect`` = D. The reference is the first
    ``drift.reference`` labels of a generation, the current sample the newest ``drift.window`` after them, or their
    newest quarter where that is significant and the whole is not. Small p-values allow for the dependence of successive
    labels, as it is in the reference (`online.detectors.dependence`). ``measures`` holds PSI, and where the shift is
    significant the Jensen-Shannon distance and for a regression the Wasserstein distance.

    A shift of 2 × window labels is the new normal. Pickles as a whole.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._codes = {name: float(code) for code, name in enumerate(pipeline.classes)}
        self._test: _Test = _Shares(pipeline.classes) if pipeline.classes else _Targets()
        self._windows = LabelledWindows(pipeline.drift)
        self._level, self._floor = lasting_level(pipeline), DriftPolicy().prior_floor
        self._newest: Finding | None = None

    def update(self, example: Example, online_score: Score) -> list[Finding]:
        """Take one label; nothing fires by itself."""
        del online_score
        value = self._codes[str(example.value)] if self._codes else float(example.value)
        if self._windows.append(value, example.prediction.event_time_ms):
            self._compare()
        return []

    def look(self) -> list[Finding]:
        """The comparison at the last look."""
        return [] if self._newest is None else [self._newest]

    def reset(self, generation: int) -> None:
        """The next labels are the reference."""
        del generation
        self._windows.clear()
        self._newest = None

    def _compare(self) -> None:
        windows = self._windows
        begin = 0
        compared = self._test.compare(windows.reference, windows.current)
        significant = self._significant(compared)
        recent = windows.current[-(len(windows.current) // SHORT) :]
        if not significant and len(recent) >= MIN_VALUES:
            sooner = self._test.compare(windows.reference, recent)
            if self._significant(sooner):
                compared, significant, begin = sooner, True, len(windows.current) - len(recent)
        self._newest = self._finding(compared, windows.current[begin:], windows.times[begin:], significant)
        windows.age(significant)

    def _significant(self, compared: _Compared) -> bool:
        return compared.p_value <= self._level and compared.effect >= self._floor

    def _finding(self, compared: _Compared, current: FloatArray, times: IntArray, significant: bool) -> Finding:
        reference = self._windows.reference
        measures = {"psi": float(population_stability(compared.reference, compared.current))}
        if significant:
            measures["jensen_shannon"] = jensen_shannon(compared.reference, compared.current)
            measures |= self._test.measures(reference, current)
        return Finding(
            detector=self._test.detector,
            kind="prior",
            statistic=compared.statistic,
            effect=compared.effect,
            p_value=compared.p_value,
            n_reference=len(reference),
            n_current=len(current),
            since_event_time_ms=int(times[onset(compared.risen, compared.share)]) if significant else None,
            histogram=self._test.histogram(reference, current) if significant else None,
            measures=measures,
        )
