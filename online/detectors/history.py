"""The newest errors of one signal as sums of blocks: what a change is found in, dated and measured by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from online.detectors.windows import FloatArray, IntArray

#: Errors per block: detectors look at blocks, and a change is dated to one.
BLOCK = 10
#: The newest examples in which a change is looked for; the older ones are only what it is compared with.
NEWEST = 2000
#: Errors per batch for the dispersion of means, and how many batches are enough to estimate it.
BATCH, LEAST_BATCHES = 50, 8


class Sample(NamedTuple):
    """Size, mean and variance of some errors."""

    n: int
    mean: float
    variance: float


def rise_p_value(before: Sample, after: Sample) -> float:
    """One-sided p-value of a rise of the mean (Welch's z; 1 where nothing varies and nothing rose)."""
    spread = math.sqrt(before.variance / max(1, before.n) + after.variance / max(1, after.n))
    rise = after.mean - before.mean
    if spread == 0.0:
        return 0.0 if rise > 0.0 else 1.0
    return float(ndtr(-rise / spread))


def batch_dispersion(errors: FloatArray) -> float:
    """How much more the means of 50 successive errors vary than independent errors' would, at least 1.

    The method of batch means (Law & Kelton, Simulation Modeling and Analysis); 1 where there are fewer than 8 of them.
    """
    count = len(errors) // BATCH
    alone = float(errors.var()) if len(errors) else 0.0
    if count < LEAST_BATCHES or alone <= 0.0:
        return 1.0
    means = errors[len(errors) - count * BATCH :].reshape(count, BATCH).mean(axis=1)
    return max(1.0, float(means.var(ddof=1)) * BATCH / alone)


class ErrorHistory:
    """The newest errors, each in [0, 1], as cumulative sums at the start of every block of 10.

    Holds at most ``capacity`` errors, a multiple of 10; older ones are forgotten.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity // BLOCK
        self._sums = np.zeros(2 * self._capacity + 1)
        self._squares = np.zeros(2 * self._capacity + 1)
        self._times = np.zeros(2 * self._capacity, dtype=np.int64)
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._first = 0
        self._end = 0
        self._sums[0] = self._squares[0] = 0.0

    def append(self, errors: Sequence[float], time: int) -> None:
        """Take a block of 10 errors and the event time (ms) of the first."""
        if self._end == len(self._times):
            self._drop_forgotten()
        end = self._end
        self._times[end] = time
        self._sums[end + 1] = self._sums[end] + sum(errors)
        self._squares[end + 1] = self._squares[end] + sum([error * error for error in errors])
        self._end = end + 1
        self._first = max(self._first, self._end - self._capacity)

    def _drop_forgotten(self) -> None:
        first, size = self._first, self._end - self._first
        for cumulative in (self._sums, self._squares):
            cumulative[: size + 1] = cumulative[first : self._end + 1] - cumulative[first]
        self._times[:size] = self._times[first : self._end]
        self._first, self._end = 0, size

    @property
    def blocks(self) -> int:
        """How many blocks are held."""
        return self._end - self._first

    def tail_sums(self, lags: IntArray) -> tuple[FloatArray, float, float]:
        """The sum of the newest ``lags`` blocks (one sum per lag), of all errors and of all squares."""
        sums, squares, end, first = self._sums, self._squares, self._end, self._first
        last = float(sums[end])
        tails: FloatArray = last - sums.take(end - lags)
        return tails, last - float(sums[first]), float(squares[end]) - float(squares[first])

    def time_of(self, block: int) -> int:
        """The event time (ms) of a block's first error; block 0 is the oldest."""
        return int(self._times[self._first + block])

    def sample(self, begin: int, end: int | None = None) -> Sample:
        """The errors from block ``begin`` to before block ``end`` (default: to the newest)."""
        low, high = self._first + begin, self._end if end is None else self._first + end
        n = (high - low) * BLOCK
        if n <= 0:
            return Sample(0, 0.0, 0.0)
        mean = min(1.0, max(0.0, float(self._sums[high] - self._sums[low]) / n))
        return Sample(n, mean, max(0.0, float(self._squares[high] - self._squares[low]) / n - mean * mean))

    def newest(self, size: int) -> Sample:
        """About the newest ``size`` errors (whole blocks)."""
        return self.sample(max(0, self.blocks - max(1, size // BLOCK)))

    def split(self, least: int) -> int | None:
        """The block at which the part begins whose mean is furthest from the older ones', in standard errors.

        Among the newest 2,000 errors, both parts of ``least`` errors or more; None where that leaves none.
        """
        blocks, gap = self.blocks, -(-least // BLOCK)
        starts = np.arange(max(gap, blocks - NEWEST // BLOCK), blocks - gap + 1)
        if not len(starts):
            return None
        tails, total, _ = self.tail_sums(blocks - starts)
        excess = tails - (blocks - starts) * (total / blocks)
        return int(starts[np.argmax(excess**2 / (starts * (blocks - starts)))])

    def dispersion(self, end: int) -> float | None:
        """`batch_dispersion` of the errors before block ``end``; None where there are fewer than 8 means."""
        size = BATCH // BLOCK
        count = end // size
        if count < LEAST_BATCHES:
            return None
        edges = self._first + end - size * np.arange(count + 1)
        batches = self._sums[edges[:-1]] - self._sums[edges[1:]]
        alone = self.sample(0, end).variance
        return max(1.0, float(batches.var(ddof=1)) / (BATCH * alone)) if alone > 0.0 else 1.0

    def forget_before(self, block: int) -> None:
        """Go on with the errors from ``block`` on."""
        self._first += block
