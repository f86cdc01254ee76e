"""Whether one group is favoured less often than another, against how they stood before: one test per pair of groups.

The ratio of two groups' rates of favourable answers is their *disparate impact ratio*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple, TypeAlias

from scipy.special import ndtr

#: A group with fewer records than this in a window, or in the reference, is too small to judge.
LEAST_GROUP = 100
#: A fall of a ratio that was at least ALLOWED is measured from ENOUGH at least. With a ``fairness_floor`` of 0.05 any
#: significant fall below 0.80 is an alarm (the "four-fifths rule", 29 CFR 1607.4 D, 1978).
ALLOWED, ENOUGH = 0.80, 0.85

#: Per group: (favourable answers, answers).
Counts: TypeAlias = list[list[int]]


class Verdict(NamedTuple):
    """How the worst pair of groups stands.

    ``ratio``: rate of ``group`` over that of ``other``; ``before``: the lesser over the greater in the reference;
    ``limit``: what the fall is measured from; ``p_value``: the chance of so small a ratio if nothing changed, over all
    pairs (of `GroupRates.look`: and over all windows).
    """

    group: str
    other: str
    ratio: float
    before: float
    limit: float
    p_value: float
    counts: Counts
    reference: Counts

    @property
    def effect(self) -> float:
        """How far the ratio lies below its limit, in [0, 1]."""
        return max(0.0, self.limit - self.ratio)


def _log_ratio(a: Sequence[int], b: Sequence[int]) -> tuple[float, float]:
    """log(rate of a / rate of b) and its variance (Katz et al., Biometrics 34, 1978), half an answer added to each."""
    p, q = (a[0] + 0.5) / (a[1] + 1.0), (b[0] + 0.5) / (b[1] + 1.0)
    return math.log(p / q), (1.0 - p) / (a[0] + 0.5) + (1.0 - q) / (b[0] + 0.5)


def _spread_at(ratio: float, a: Sequence[int], b: Sequence[int]) -> float:
    """The variance of the log ratio, were it log(``ratio``): rates are those that fit a and b together best."""
    q = min(1.0, (a[0] + b[0] + 1.0) / (ratio * (a[1] + 1.0) + b[1] + 1.0))
    p = ratio * q
    return (1.0 - p) / (p * (a[1] + 1.0)) + (1.0 - q) / (q * (b[1] + 1.0))


def judge(names: Sequence[str], counts: Counts, reference: Counts, newer: Sequence[Counts] = ()) -> Verdict | None:
    """The worst pair of groups; None where fewer than two are large enough in both samples.

    A pair's ratio is held to the lesser rate over the greater in the reference, whose own uncertainty counts: what
    always was unequal is for a report and a gate, not an incident, nor is a group that loses an advantage. Each ordered
    pair has a one-sided normal test of the log ratio, whose variance is the greater of those at the rates seen and at
    the rates if nothing changed (few favourable answers make the first too small); the least p-value times their number
    (Bonferroni) holds for whichever is worst. With none below what it was: the least ratio, with a p-value of 1.

    ``newer``: the newest parts of the sample, shortest first. A pair of which the first that is large enough shows less
    than half of the fall has recovered, whatever the rest of the sample says: its p-value is 1.
    """
    both = range(min(len(counts), len(reference)))
    large = [g for g in both if min(counts[g][1], reference[g][1]) >= LEAST_GROUP]
    pairs = list(permutations(large, 2))
    worst: tuple[float, float, float, float, int, int] | None = None
    for g, other in pairs:
        now, spread = _log_ratio(counts[g], counts[other])
        then, uncertain = _log_ratio(reference[g], reference[other])
        ratio, before = math.exp(now), math.exp(-abs(then))
        limit = ENOUGH if ALLOWED <= before < ENOUGH else before
        p_value = 1.0
        if ratio < before and not _recovered(g, other, (ratio + before) / 2.0, newer):
            spread = max(spread, _spread_at(before, counts[g], counts[other]))
            p_value = min(1.0, len(pairs) * float(ndtr((now + abs(then)) / math.sqrt(spread + uncertain))))
        found = (p_value, ratio, before, limit, g, other)
        if worst is None or found < worst:
            worst = found
    if worst is None:
        return None
    p_value, ratio, before, limit, g, other = worst
    return Verdict(names[g], names[other], ratio, before, limit, p_value, counts, reference)


def _recovered(g: int, other: int, half: float, newer: Sequence[Counts]) -> bool:
    for counts in newer:
        if max(g, other) < len(counts) and min(counts[g][1], counts[other][1]) >= LEAST_GROUP:
            return math.exp(_log_ratio(counts[g], counts[other])[0]) > half
    return False
