"""Tests that stay valid however often one looks."""

from __future__ import annotations

import math

#: The bound is tightest after so many observations.
TIGHTEST_AT = 500


def lower_bound(mean: float, spread: float, n: int, alpha: float) -> float:
    """What the true mean stays above, at all n at once, but for a chance of ``alpha``.

    The one-sided asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Time-uniform
    central limit theory and asymptotic confidence sequences, Annals of Statistics 52, 2024). ``mean`` and ``spread``
    (standard deviation, or more) are those of the first ``n`` observations, of which there should be some hundred.
    """
    if n < 1:
        return -math.inf
    doubled = -2.0 * math.log(2.0 * alpha)
    rho_squared = (doubled + math.log(max(doubled, 1e-9)) + 1.0) / TIGHTEST_AT
    grown = n * rho_squared + 1.0
    width = 2.0 * grown / (n * n * rho_squared) * math.log1p(math.sqrt(grown) / (2.0 * alpha))
    return mean - spread * math.sqrt(width)
