"""Whether what serves has become worse than it was since its promotion, beyond what chance does.

A fall by a share is easy to see and easy to see wrongly: over 500 rows, accuracy varies by some percent from look to
look. So a drop counts where it is large enough *and* cannot well be chance, at whichever of the many looks.

*Comparison.* The newest 500, 1,000, 2,000 and 4,000 labelled rows, each with all rows before them in the generation (at
least 500). The figure's drop must exceed the threshold, between these two.

*Chance.* If right and wrong answers come in no particular order, then of K right ones among N the newest W hold a
hypergeometric number, whatever the rate (Fisher's exact test, 1935). F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN),
so its fall is that of a share of the rows in which the class happened or was decided, tested the same way; the macro F1
of several classes, by the class that fell most clearly. A regression's mean absolute error is compared by Welch's test
(1947), which is approximate. Look k, counted from the stream's first, may spend `ALPHA` / (k (k + 1)), shared evenly by
the tests that are made at it. The sum over all k is `ALPHA`: the chance that it ever happens to a stream whose answers
are as good as before. Answers that go wrong in clusters are not as good as before while a cluster lasts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from statistics import NormalDist, fmean
from typing import NamedTuple

from penstock.events import ScoreBlock
from penstock.spec import Pipeline

ALPHA = 0.01
#: Sizes of the window of newest rows.
SCALES = (500, 1000, 2000, 4000)
#: Fewer rows before the window are no level to fall from.
LEAST_ROWS = 500


class Drop(NamedTuple):
    """``figure`` of the newest ``rows`` labelled rows against the ``rows_before`` them in the same generation."""

    figure: str
    before: float
    now: float
    rows: int
    rows_before: int


class _Counts(NamedTuple):
    """Sums over labelled rows; of classes (happened, decided, both)."""

    rows: int = 0
    correct: int = 0
    error: float = 0.0
    error_squared: float = 0.0
    classes: Mapping[str, tuple[int, int, int]] = {}


class _Test(NamedTuple):
    drop: Drop
    p_value: float


class ServedPerformance:
    """The looks of one generation at what was served, and the drop that they show."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._generation = 0
        self._joined: set[int] | None = None
        # The sums since the generation began, look by look; the first is of before all windows.
        self._totals = deque([_Counts()])
        self._quiet = 0
        #: The drop at the newest look, and the labelled rows at the first look that showed it: looks belong together
        #: that lie less than ``drift.quiet_looks`` apart.
        self.drop: Drop | None = None
        self.since: int | None = None

    def add(self, block: ScoreBlock, generation: int, partition: int, labelled: int) -> None:
        """Take a look: what a partition served since its last one, at the stream's ``labelled`` rows."""
        if generation < self._generation:
            return
        if generation > self._generation:
            self._generation, self._totals, self._joined = generation, deque([_Counts()]), set()
            self.drop = self.since = None
        if self._joined is not None and partition not in self._joined:
            # The look at which a partition comes to a generation holds rows of the one before as well.
            self._joined.add(partition)
            return
        self._totals.append(_added(self._totals[-1], block))
        while self._totals[-1].rows - self._totals[1].rows >= SCALES[-1]:
            self._totals.popleft()
        self.drop = self._found(labelled)
        self._quiet = 0 if self.drop is not None else self._quiet + 1
        if self.drop is not None and self.since is None:
            self.since = labelled
        elif self._quiet >= self._pipeline.drift.quiet_looks * self._pipeline.partitions:
            self.since = None

    @property
    def generation(self) -> int:
        """The newest generation that was served."""
        return self._generation

    def _found(self, labelled: int) -> Drop | None:
        limit = self._pipeline.retraining.performance_drop
        if limit is None:
            return None
        look = max(1, labelled // self._pipeline.drift.look_every)
        level = ALPHA / (look * (look + 1)) / len(SCALES)
        found = [test for now, before in self._windows() for test in self._tests(now, before, limit, level)]
        return min(found, key=lambda test: test.p_value).drop if found else None

    def _windows(self) -> Iterator[tuple[_Counts, _Counts]]:
        """The newest rows at each scale (or a little more: whole looks), and those before them."""
        newest, position = self._totals[-1], len(self._totals) - 1
        for scale in SCALES:
            while position > 0 and newest.rows - self._totals[position].rows < scale:
                position -= 1
            before = self._totals[position]
            if newest.rows - before.rows >= scale and before.rows >= LEAST_ROWS:
                yield _without(newest, before), before

    def _tests(self, now: _Counts, before: _Counts, limit: float, level: float) -> list[_Test]:
        """The figures that fell by more than ``limit``, where that is beyond chance."""
        if self._pipeline.task == "regression":
            tests = [_of_error(now, before, limit)]
        else:
            names = [self._pipeline.positive] if self._pipeline.task == "binary" else self._pipeline.classes
            tests = [_of_accuracy(now, before, limit), _of_f1(now, before, names, limit)]
        return [test for test in tests if test is not None and test.p_value <= level / len(tests)]


def _of_accuracy(now: _Counts, before: _Counts, limit: float) -> _Test | None:
    drop = Drop("accuracy", before.correct / before.rows, now.correct / now.rows, now.rows, before.rows)
    if drop.before - drop.now <= limit:
        return None  # spares the test
    p_value = hypergeometric(now.correct, now.rows, now.correct + before.correct, now.rows + before.rows)
    return _Test(drop, p_value)


def _of_error(now: _Counts, before: _Counts, limit: float) -> _Test | None:
    drop = Drop("mean absolute error", before.error / before.rows, now.error / now.rows, now.rows, before.rows)
    rise = drop.now - drop.before
    if rise <= limit * drop.before:
        return None
    spread = math.sqrt(sum(_variance(counts) / counts.rows for counts in (now, before)))
    return _Test(drop, NormalDist().cdf(-rise / spread) if spread > 0.0 else 0.0)


def _variance(counts: _Counts) -> float:
    return max(0.0, counts.error_squared / counts.rows - (counts.error / counts.rows) ** 2)


def _of_f1(now: _Counts, before: _Counts, names: Iterable[str], limit: float) -> _Test | None:
    """Over the classes that both know: their mean F1, and the least p-value, for so many of them."""
    shares = {name: (_jaccard(now, name), _jaccard(before, name)) for name in names}
    known = {name: pair for name, pair in shares.items() if pair[0][1] and pair[1][1]}
    if not known:
        return None
    means = [fmean(_f1(*pair[side]) for pair in known.values()) for side in (0, 1)]
    drop = Drop("F1", means[1], means[0], now.rows, before.rows)
    if drop.before - drop.now <= limit:
        return None
    p_values = (hypergeometric(x, w, x + y, w + v) for (x, w), (y, v) in known.values())
    return _Test(drop, min(1.0, min(p_values) * len(known)))


def _jaccard(counts: _Counts, name: str) -> tuple[int, int]:
    happened, decided, both = counts.classes.get(name, (0, 0, 0))
    return both, happened + decided - both


def _f1(both: int, either: int) -> float:
    return 2.0 * both / (either + both)


def hypergeometric(successes: int, drawn: int, all_successes: int, total: int) -> float:
    """Chance of at most so many ``successes`` among ``drawn`` of ``total``, of which ``all_successes`` are some.

    >>> round(hypergeometric(1, 5, 10, 20), 6)  # (C(10,0) C(10,5) + C(10,1) C(10,4)) / C(20,5)
    0.151703
    """
    failures = total - all_successes
    least, most = max(0, drawn - failures), min(drawn, all_successes)
    if successes >= most:
        return 1.0
    if successes * total > drawn * all_successes:
        return 1.0 - hypergeometric(drawn - successes - 1, drawn, failures, total)
    # From the last term down, each is the one before times a ratio; below the mode they soon vanish.
    log_term = _log_choose(all_successes, successes) + _log_choose(failures, drawn - successes)
    term = math.exp(log_term - _log_choose(total, drawn))
    chance = 0.0
    for x in range(successes, least - 1, -1):
        chance += term
        term *= x * (failures - drawn + x) / ((all_successes - x + 1) * (drawn - x + 1))
        if term < 1e-17 * chance:
            break
    return min(1.0, chance)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _added(total: _Counts, block: ScoreBlock) -> _Counts:
    classes = dict(total.classes)
    for name, counts in block.class_counts.items():
        old = classes.get(name, (0, 0, 0))
        classes[name] = (old[0] + counts[0], old[1] + counts[1], old[2] + counts[2])
    return _Counts(
        total.rows + block.n,
        total.correct + block.correct,
        total.error + block.absolute_error,
        total.error_squared + block.squared_error,
        classes,
    )


def _without(total: _Counts, part: _Counts) -> _Counts:
    classes = {}
    for name, counts in total.classes.items():
        old = part.classes.get(name, (0, 0, 0))
        classes[name] = (counts[0] - old[0], counts[1] - old[1], counts[2] - old[2])
    return _Counts(
        total.rows - part.rows,
        total.correct - part.correct,
        total.error - part.error,
        total.error_squared - part.error_squared,
        classes,
    )
