"""Tests that stay valid however often one looks."""

from __future__ import annotations

import math

from retraining.rivalry import Rivalry

#: The bound is tightest after so many observations.
TIGHTEST_AT = 500
#: Fewer rows say nothing: the bound is an asymptotic one.
LEAST_ROWS = 200


def half_width(n: int, alpha: float) -> float:
    """How far the true mean may lie below the mean of the first ``n`` observations, in standard deviations.

    Holds at all n at once, but for a chance of ``alpha``: the one-sided asymptotic confidence sequence of Waudby-Smith,
    Arbour, Sinha, Kennedy and Ramdas (Time-uniform central limit theory and asymptotic confidence sequences, Annals of
    Statistics 52, 2024). There should be some hundred observations.
    """
    if n < 1:
        return math.inf
    doubled = -2.0 * math.log(2.0 * alpha)
    rho_squared = (doubled + math.log(max(doubled, 1e-9)) + 1.0) / TIGHTEST_AT
    grown = n * rho_squared + 1.0
    return math.sqrt(2.0 * grown / (n * n * rho_squared) * math.log1p(math.sqrt(grown) / (2.0 * alpha)))


def lower_bound(mean: float, spread: float, n: int, alpha: float) -> float:
    """What the true mean stays above; ``mean`` and ``spread`` (standard deviation) of the first ``n`` observations."""
    return mean - spread * half_width(n, alpha) if n >= 1 else -math.inf


def least_gain(rivalry: Rivalry, alpha: float) -> float:
    """The lower bound of the loss that the other version saves per row; above 0 it is better, but for ``alpha``.

    Neighbouring rows resemble each other, so that the sum over a look may vary by more than that of so many independent
    rows. The variance per row is the greater of that of single rows and that of looks: batch means (Conway, Management
    Science 9, 1963). Dependence that reaches much further than a look (100 rows) is not covered.
    """
    if rivalry.rows < LEAST_ROWS:
        return -math.inf
    mean = (rivalry.served - rivalry.other) / rivalry.rows
    variance = max(0.0, rivalry.difference_squared / rivalry.rows - mean * mean)
    if rivalry.looks > 1:
        variance = max(variance, (rivalry.look_squared - rivalry.rows * mean * mean) / (rivalry.looks - 1))
    return lower_bound(mean, math.sqrt(variance), rivalry.rows, alpha)
