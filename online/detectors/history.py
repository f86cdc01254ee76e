"""The newest errors of one signal as sums of blocks: what a change is found in, dated and measured by."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from online.detectors.windows import FloatArray

#: Errors per block: a change is dated to a block.
BLOCK = 10
#: The newest examples in which a change is looked for; the older ones are only what it is compared with.
NEWEST = 2000
#: Blocks of 50 errors for the dispersion of means, and how many of them are enough to estimate it.
_BATCH, _LEAST_BATCHES = 5, 8


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


class ErrorHistory:
    """The newest errors, each in [0, 1], as cumulative sums at the start of every tenth.

    Takes at most ``capacity`` errors (and one block), a multiple of 10; older ones are forgotten block by block.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity // BLOCK
        self._starts = np.zeros((2, 2 * self._capacity + 1))
        self._times = np.zeros(2 * self._capacity + 1, dtype=np.int64)
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._first = 0
        self._blocks = 0
        self._rest = 0
        self._sum = 0.0
        self._square = 0.0

    def append(self, error: float, time: int) -> None:
        """Take the error of an example and its event time (ms)."""
        if self._rest == 0 or self._rest == BLOCK:
            self._open_block(time)
        self._rest += 1
        self._sum += error
        self._square += error * error

    def _open_block(self, time: int) -> None:
        if self._blocks == len(self._times):
            self._drop_forgotten()
        self._starts[:, self._blocks] = self._sum, self._square
        self._times[self._blocks] = time
        self._blocks += 1
        self._rest = 0
        self._first = max(self._first, self._blocks - self._capacity - 1)

    def _drop_forgotten(self) -> None:
        kept = slice(self._first, self._blocks)
        base = self._starts[:, self._first].copy()
        self._blocks -= self._first
        self._starts[:, : self._blocks] = self._starts[:, kept] - base[:, None]
        self._times[: self._blocks] = self._times[kept]
        self._first = 0
        self._sum -= float(base[0])
        self._square -= float(base[1])

    @property
    def full(self) -> bool:
        """Whether the newest block is complete, so that the block sums cover all errors."""
        return self._rest == BLOCK

    @property
    def blocks(self) -> int:
        """How many blocks are held; the newest may be incomplete."""
        return self._blocks - self._first

    def __len__(self) -> int:
        return max(0, self.blocks - 1) * BLOCK + self._rest

    def sums(self) -> FloatArray:
        """The errors and their squares, summed from the oldest to the start of each block; shape (2, blocks)."""
        return self._starts[:, self._first : self._blocks] - self._starts[:, self._first, None]

    def tail_sums(self, lags: np.ndarray) -> tuple[FloatArray, float, float]:
        """The sum of the newest ``lags`` blocks (one sum per lag), of all errors and of all squares."""
        tails = self._sum - self._starts[0, self._blocks - lags]
        first = self._starts[:, self._first]
        return tails, self._sum - float(first[0]), self._square - float(first[1])

    def time_of(self, block: int) -> int:
        """The event time (ms) of a block's first error; block 0 is the oldest."""
        return int(self._times[self._first + block])

    def sample(self, begin: int, end: int | None = None) -> Sample:
        """The errors from block ``begin`` to before block ``end`` (default: to the newest)."""
        low = self._starts[:, self._first + begin]
        if end is None:
            n, sums = len(self) - begin * BLOCK, (self._sum - low[0], self._square - low[1])
        else:
            high = self._starts[:, self._first + end]
            n, sums = (end - begin) * BLOCK, (high[0] - low[0], high[1] - low[1])
        if n <= 0:
            return Sample(0, 0.0, 0.0)
        mean = min(1.0, max(0.0, float(sums[0]) / n))
        return Sample(n, mean, max(0.0, float(sums[1]) / n - mean * mean))

    def newest(self, size: int) -> Sample:
        """About the newest ``size`` errors (whole blocks and the incomplete one)."""
        return self.sample(max(0, self.blocks - size // BLOCK)) if self.blocks else Sample(0, 0.0, 0.0)

    def split(self, least: int) -> int | None:
        """The block at which the part begins whose mean is furthest from the older ones', in standard errors.

        Among the newest 2,000 errors, both parts of ``least`` errors or more; None where that leaves none.
        """
        starts = np.arange(max(1, self.blocks - NEWEST // BLOCK), self.blocks)
        n, before = len(self), starts * BLOCK
        starts = starts[(before >= least) & (n - before >= least)]
        if not len(starts):
            return None
        before = starts * BLOCK
        older = self.sums()[0][starts]
        total = self._sum - float(self._starts[0, self._first])
        excess = (total - older) - (n - before) * (total / n)
        return int(starts[np.argmax(excess**2 / (before * (n - before)))])

    def dispersion(self, end: int) -> float | None:
        """How much more the means of 50 errors before block ``end`` vary than independent errors' would, at least 1.

        None where there are fewer than 8 of them.
        """
        count = end // _BATCH
        if count < _LEAST_BATCHES:
            return None
        edges = self._first + end - _BATCH * np.arange(count + 1)
        batches = self._starts[0, edges[:-1]] - self._starts[0, edges[1:]]
        alone = self.sample(0, end).variance
        return max(1.0, float(batches.var(ddof=1)) / (_BATCH * BLOCK * alone)) if alone > 0.0 else 1.0

    def forget_before(self, block: int) -> None:
        """Go on with the errors from ``block`` on."""
        self._first += block
