"""Group fairness online: how often each group gets the favourable answer, now and before.

One attribute's groups are counted over a sliding window and over a reference, which is everything before the window.
For groups a and b with rates p and q of favourable answers, p / q is their disparate impact ratio and p − q their
difference (demographic parity over all predictions; equal opportunity over those whose label was favourable).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from scipy.special import ndtr

from online.detectors.categorical import POOLED, category
from online.detectors.windows import AlarmAges, Packed
from penstock.events import FeatureValue
from penstock.spec import Categorical, Numeric, Pipeline

#: A group with fewer records than this in a window, or in the reference, is too small to judge.
LEAST_GROUP = 100
#: Groups that are counted by name: declared values first, then those that come first; the rest is one group.
MOST_GROUPS = 8
#: Windows of the drift policy that one window of fairness has (the newest one is judged alone as well). At rates of
#: 0.8 a ratio that fell by 0.05 stands out of all looks at four standard errors, and that takes about 6,000 records.
WINDOWS = 6
#: A ratio of two groups' rates that was at least ALLOWED is held to ENOUGH as well. With a ``fairness_floor`` of 0.05
#: it is an alarm below 0.80 (the "four-fifths rule", 29 CFR 1607.4 D, 1978), however slowly it got there.
ALLOWED, ENOUGH = 0.80, 0.85
#: While a ratio is this unlikely and this far below its limit, its records are no reference for later ones.
SUSPECT, SUSPECT_EFFECT = 1e-3, 0.0375

#: Per group: (favourable answers, answers).
Counts: TypeAlias = list[list[int]]


class Verdict(NamedTuple):
    """How the worst pair of groups stands.

    ``ratio``: rate of ``group`` over that of ``other``; ``before``: the lesser over the greater in the reference;
    ``limit``: what the ratio is held to; ``p_value``: the chance of so small a ratio at its limit, over all pairs.
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


def judge(names: Sequence[str], counts: Counts, reference: Counts) -> Verdict | None:
    """The worst pair of groups; None where fewer than two are large enough in both samples.

    A pair's ratio is held to the lesser rate over the greater in the reference (whose own uncertainty counts; a group
    that loses an advantage is no alarm), and to 0.85 where that was from 0.80 to 0.85: what always was unequal is for a
    report and a gate, not an incident. Each ordered pair has a one-sided normal test
    of the log ratio for each of the two limits; the least p-value times their number (Bonferroni) holds for whichever
    is worst. With none below its limit: the least ratio, with a p-value of 1.
    """
    both = range(min(len(counts), len(reference)))
    large = [g for g in both if min(counts[g][1], reference[g][1]) >= LEAST_GROUP]
    pairs = list(permutations(large, 2))
    worst: tuple[float, float, float, float, int, int] | None = None
    for g, other in pairs:
        now, spread = _log_ratio(counts[g], counts[other])
        then, spread_then = _log_ratio(reference[g], reference[other])
        ratio, before = math.exp(now), math.exp(-abs(then))
        tests = (
            (before, (now + abs(then)) / math.sqrt(spread + spread_then)),
            (ENOUGH, (now - math.log(ENOUGH)) / math.sqrt(spread)),
        )
        for limit, z in tests if before >= ALLOWED else tests[:1]:
            p_value = min(1.0, len(tests) * len(pairs) * float(ndtr(z))) if ratio < limit else 1.0
            found = (p_value, ratio, before, limit, g, other)
            if worst is None or found < worst:
                worst = found
    if worst is None:
        return None
    p_value, ratio, before, limit, g, other = worst
    return Verdict(names[g], names[other], ratio, before, limit, p_value, counts, reference)


class _Sliding:
    """The newest ``size`` records, as codes 2 × group + favourable, and their counts."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.codes: deque[int] = deque()
        self.counts: Counts = []

    def add(self, code: int) -> int | None:
        """Take one record; the one that leaves for it, if any."""
        self.codes.append(code)
        _count(self.counts, code, 1)
        if len(self.codes) <= self._size:
            return None
        gone = self.codes.popleft()
        _count(self.counts, gone, -1)
        return gone


class _State(msgspec.Struct, array_like=True):
    groups: list[str]
    edges: list[float] | None
    first: list[float]
    seen: int
    window: list[int]
    reference: Counts
    ages: tuple[Packed, Packed]
    suspect: bool


class GroupRates:
    """One attribute's groups over a sliding window of ``WINDOWS`` × ``drift.window`` records and everything before it.

    The first ``drift.reference`` records are left out: a model that has learned nothing decides by nothing. They set
    the groups of a number, which are its quarters there. Records that leave the window join the reference, unless the
    attribute is suspect at that moment; one that is so for 2 windows takes its window as the new reference. A promotion
    changes nothing here: a model that treats groups otherwise is what this must find.
    """

    def __init__(self, pipeline: Pipeline, attribute: str) -> None:
        self.attribute = attribute
        feature = pipeline.feature(attribute)
        self._numeric = isinstance(feature, Numeric)
        self._warm_up, self._newest_size = pipeline.drift.reference, pipeline.drift.window
        self._size = WINDOWS * pipeline.drift.window
        self._groups: dict[str, int] = {}
        if isinstance(feature, Categorical):
            self._groups = {value: index for index, value in enumerate(feature.values[:MOST_GROUPS])}
        self._edges: list[float] | None = None
        self._first: list[float] = []
        self._seen = 0
        self._window, self._newest = _Sliding(self._size), _Sliding(self._newest_size)
        self._reference: Counts = []
        self._ages = AlarmAges(1, self._size)
        self._suspect = False

    def add(self, value: FeatureValue, favoured: bool) -> None:
        """Count one record: the attribute's value (None: of no group), and whether the answer was favourable."""
        self._seen += 1
        if self._seen <= self._warm_up:
            if self._numeric and isinstance(value, int | float):
                self._first.append(float(value))
            return
        group = self._group(value)
        if group is None:
            return
        code = 2 * group + favoured
        self._newest.add(code)
        gone = self._window.add(code)
        if gone is not None and not self._suspect:
            _count(self._reference, gone, 1)

    def _group(self, value: FeatureValue) -> int | None:
        if self._edges is None and self._numeric:
            self._edges, self._first = _quarters(self._first), []
        if self._edges is not None and isinstance(value, int | float):
            name = _range_name(self._edges, bisect_right(self._edges, float(value)))
        else:
            text = category(value)
            if text is None:
                return None
            name = text
        if name not in self._groups and len(self._groups) >= MOST_GROUPS:
            name = POOLED
        return self._groups.setdefault(name, len(self._groups))

    def look(self, records: int) -> Verdict | None:
        """How the groups stand, ``records`` after the last look; None while fewer than two can be judged."""
        names = list(self._groups)
        views = [judge(names, view.counts, self._reference) for view in (self._window, self._newest)]
        verdict = min((view for view in views if view), key=lambda view: (view.p_value, view.ratio), default=None)
        self._suspect = verdict is not None and verdict.p_value <= SUSPECT and verdict.effect >= SUSPECT_EFFECT
        if len(self._ages.update(np.array([self._suspect]), records)):
            self._reference = [list(counted) for counted in self._window.counts]
        return verdict

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each group that is in the window: (favourable answers, answers)."""
        counted = zip(self._groups, self._window.counts, strict=False)
        return {name: (good, n) for name, (good, n) in counted if n}

    def state(self) -> bytes:
        """All state, as MessagePack."""
        return msgspec.msgpack.encode(
            _State(
                list(self._groups),
                self._edges,
                self._first,
                self._seen,
                list(self._window.codes),
                self._reference,
                self._ages.pack(),
                self._suspect,
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._groups = {name: index for index, name in enumerate(held.groups)}
        self._edges, self._first, self._seen = held.edges, held.first, held.seen
        self._reference, self._suspect = held.reference, held.suspect
        self._ages.unpack(held.ages)
        self._window, self._newest = _Sliding(self._size), _Sliding(self._newest_size)
        for code in held.window:
            self._window.add(code)
            self._newest.add(code)


def favourable(pipeline: Pipeline) -> str | None:
    """The decision that people hope for; None where there are no classes."""
    if pipeline.favourable is not None or not pipeline.classes:
        return pipeline.favourable
    return pipeline.classes[-1]


def _count(counts: Counts, code: int, by: int) -> None:
    group, good = divmod(code, 2)
    while len(counts) <= group:
        counts.append([0, 0])
    counts[group][0] += by * good
    counts[group][1] += by


def _quarters(values: Sequence[float]) -> list[float]:
    if not values:
        return []
    return sorted({float(edge) for edge in np.quantile(values, (0.25, 0.5, 0.75), method="nearest")})


def _range_name(edges: Sequence[float], index: int) -> str:
    low = f"{edges[index - 1]:g}" if index else ""
    high = f"{edges[index]:g}" if index < len(edges) else ""
    return f"{low}…{high}" if low or high else "(any)"
