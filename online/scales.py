"""The running scale of one number: what "one spread above the mean" is, as it moves and whatever its outliers."""

from __future__ import annotations

import math
from statistics import median

#: Values beyond this many spreads from the mean are cut: one outlier of 1e9 must not move a linear model.
CLIP = 10.0
#: Values beyond this many spreads count as if they were there when a spread is learned: with a share ε of outliers the
#: variance stays below 1 / (1 − 25 ε) times its true value.
WINSOR = 5.0
#: Running means fade over this many values, so that they follow a stream that moves for years.
HORIZON = 2_500
#: A scale is taken from the median and the median deviation of this many first values.
WARM_UP = 30
#: MAD × 1.4826 estimates the standard deviation of a Gaussian.
_MAD_TO_SD = 1.4826


class RobustScale:
    """Running mean and spread of one number, hard to move by outliers.

    The first `WARM_UP` values are kept and winsorised at median ± `WINSOR` × 1.4826 × MAD (where the MAD is 0, as in
    columns that are mostly one value, not at all). Later values are winsorised at mean ± `WINSOR` × spread before they
    count, with weight 1/n down to 1/`HORIZON`; so a slow change of scale is followed and an outlier
    is not. `WARM_UP` such values in a row are no outliers but another unit or a new regime: the scale starts afresh.
    """

    __slots__ = ("_first", "_outside", "count", "mean", "spread", "variance")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.variance = 0.0
        self.spread = 0.0
        self._first: list[float] | None = []
        self._outside = 0

    def standardise(self, value: float) -> float:
        """``value`` in spreads from the mean, cut at ± `CLIP`; 0 while all values were equal."""
        if self.spread <= 0.0:
            return 0.0
        z = (value - self.mean) / self.spread
        return CLIP if z > CLIP else -CLIP if z < -CLIP else z

    def update(self, value: float) -> None:
        """Count one finite ``value``."""
        self.count += 1
        if self._first is not None:
            self._warm_up(self._first, value)
            return
        deviation = value - self.mean
        limit = WINSOR * self.spread
        if -limit <= deviation <= limit:
            self._outside = 0
        else:
            self._outside += 1
            if self._outside >= WARM_UP:
                self.count, self._outside, self._first = 1, 0, []
                self._warm_up(self._first, value)
                return
            if limit > 0.0:
                deviation = math.copysign(limit, deviation)
        rate = 1.0 / self.count if self.count < HORIZON else 1.0 / HORIZON
        self.mean += rate * deviation
        self.variance = (1.0 - rate) * (self.variance + rate * deviation * deviation)
        self.spread = math.sqrt(self.variance)

    def _warm_up(self, first: list[float], value: float) -> None:
        first.append(value)
        centre = median(first)
        limit = WINSOR * _MAD_TO_SD * median([abs(each - centre) for each in first])
        kept = [min(max(each, centre - limit), centre + limit) for each in first] if limit > 0.0 else first
        self.mean = math.fsum(kept) / len(kept)
        self.variance = math.fsum((each - self.mean) ** 2 for each in kept) / len(kept)
        self.spread = math.sqrt(self.variance)
        if len(first) >= WARM_UP:
            self._first = None
